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
from dicom_node.results.templates import load_template
from dicom_node.results.write import write_results

MOST_NUMBERS = 5


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
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    (measurements,) = children(report, "126010")
    groups = children(measurements, "125007")
    assert len(groups) > 10
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
        assert 1 <= len(numbers) <= MOST_NUMBERS
