"""By what OHIF decides whether a Structured Report is drawn: its rules, on every report of ours.

Read in OHIF's extensions/cornerstone-dicom-sr: `src/utils/isRehydratable.js`,
`src/getSopClassHandlerModule.ts` (`_getMeasurements`, `_processTID1410Measurement`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pydicom
import pytest
from pydicom import Dataset

from dicom_node.resources import report_templates
from dicom_node.results.preview import preview_context, preview_film, preview_film_with_map
from dicom_node.results.report import SOP_CLASSES
from dicom_node.results.templates import Template, load_template
from dicom_node.results.write import write_results
from tests.results.observed_kit import context_in, eighteen, every_kind, observed_film
from tests.results.told_kit import ENGLISH, GERMAN
from tests.viewers.film_kit import phantom_film

MOST_NUMBERS = 5
"""So many numbers of a group are written beside its line."""


KINDS_OF_FILM = ("with heat and lungs", "without lungs", "with a map")


@cache
def reports(kind_of_film: str) -> Sequence[Dataset]:
    """Return the report on such a film in each class that OHIF draws."""
    folder = report_templates()
    context = preview_context(load_template(folder / "chest-radiograph-measurement-report.toml"))
    film = preview_film()
    if kind_of_film == "without lungs":
        film = replace(film, explanation=replace(film.explanation, lungs=None))
    if kind_of_film == "with a map":
        film = preview_film_with_map()
    written = write_results([film], context)[: len(SOP_CLASSES)]
    return [pydicom.dcmread(io.BytesIO(item.data)) for item in written]


def children(item: Dataset, code: str = "") -> list[Dataset]:
    return [
        child
        for child in item.get("ContentSequence") or ()
        if not code or child.ConceptNameCodeSequence[0].get("CodeValue") == code
    ]


@pytest.mark.parametrize("sop_class", SOP_CLASSES, ids=lambda sop_class: sop_class[-5:])
@pytest.mark.parametrize("kind_of_film", KINDS_OF_FILM)
def test_every_group_of_a_report_is_drawn(kind_of_film: str, sop_class: str) -> None:
    (report,) = [one for one in reports(kind_of_film) if one.SOPClassUID == sop_class]
    assert groups_that_are_drawn(report) > 10


@pytest.mark.parametrize("beside", [True, False], ids=["beside ours", "alone"])
@pytest.mark.parametrize("template", [ENGLISH, GERMAN], ids=["en", "de"])
def test_every_observation_of_networks_of_others_is_drawn(template: Template, beside: bool) -> None:
    film = observed_film(phantom_film, *every_kind(), eighteen(3, 7), beside=beside)
    written = write_results([film], context_in(template))[: len(SOP_CLASSES)]
    assert written
    for item in written:
        report = pydicom.dcmread(io.BytesIO(item.data))
        assert groups_that_are_drawn(report) > len(every_kind())


def groups_that_are_drawn(report: Dataset) -> int:
    """Return how many groups a report has; each must be one that OHIF draws."""
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    (measurements,) = children(report, "126010")
    groups = children(measurements, "125007")
    library = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for each in children(report, "111028")
        for group in children(each)
        for item in children(group)
    }
    for group in groups:
        assert len(children(group, "112040")) == 1, "a Tracking Unique Identifier"
        (region,) = [item for item in children(group) if item.ValueType == "SCOORD"]
        assert region.GraphicType == "POLYLINE"
        (image,) = children(region)
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in library
        numbers = [item for item in children(group) if item.ValueType == "NUM"]
        assert numbers
        # Of more the viewer writes the first ones: none of a finding is left out.
        assert len(numbers) <= MOST_NUMBERS or not children(group, "121071")
    return len(groups)
