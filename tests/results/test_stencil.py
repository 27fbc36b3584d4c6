"""A report's content is byte by byte what highdicom and pydicom write, value by value."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.sr import RelationshipTypeValues
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_node.errors import IdentityNotPreserved, ResultError
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.measured import concept, separate, shape_of, stencil_of, values_of
from dicom_node.results.modules import renamed
from dicom_node.results.preview import preview_context, preview_film, preview_film_with_map
from dicom_node.results.regions import places_of
from dicom_node.results.report import groups_of_study
from dicom_node.results.stencil import Encodings, fill
from dicom_node.results.values import Group
from dicom_node.results.write import write_results
from dicom_node.uids import derived_uid
from tests.reporting_kit import TEMPLATE
from tests.results.conftest import MakeFilm

LATIN: Encodings = ("iso8859",)


def groups_of(film: AnalysedFilm, context: Context) -> list[Group]:
    (groups,) = groups_of_study([(film, places_of(film))], context)
    return groups


def filled(group: Group, film: AnalysedFilm, context: Context) -> bytes:
    return fill(stencil_of(shape_of(group, film, context), LATIN), values_of(group, film), LATIN)


def by_highdicom(group: Group, film: AnalysedFilm, context: Context) -> bytes:
    """Return a group that highdicom makes of its own values, as pydicom writes it."""
    source, card = film.dataset, context.card(film, group.network) if group.network else None
    common: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            derived_uid("tracking", source.SOPInstanceUID, group.key), group.tracking
        ),
        "finding_type": concept(group.finding) if group.finding else None,
        "finding_sites": [
            hd.sr.FindingSite(concept(group.site.place), laterality=concept(group.site.laterality))
        ]
        if group.site
        else None,
        "algorithm_id": hd.sr.AlgorithmIdentification(
            card.title,
            card.version,
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            parameters=list(group.parameters) or None,
        )
        if card
        else None,
        "measurements": [
            hd.sr.Measurement(
                concept(number.name),
                number.exact,
                hd.sr.CodedConcept(number.unit.code, "UCUM", number.unit.meaning),
            )
            for number in group.numbers
        ]
        or None,
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(concept(name), concept(answer))
            for name, answer in group.evaluations
        ]
        or None,
    }
    assert group.place is not None
    (item,) = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=hd.sr.ImageRegion(
            hd.sr.GraphicTypeValues.POLYLINE,
            group.place,
            hd.sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
        ),
        **common,
    )
    return written(_said(item, group, context))


def _said(item: Dataset, group: Group, context: Context) -> Dataset:
    numbers = [each for each in item.ContentSequence if each.ValueType == "NUM"]
    for each, number in zip(numbers, group.numbers, strict=True):
        each.MeasuredValueSequence[0].NumericValue = number.shown.replace(",", ".")
        if number.also is not None:
            each.ConceptNameCodeSequence[0].EquivalentCodeSequence = [concept(number.also)]
    contains = RelationshipTypeValues.CONTAINS
    texts = [
        (name == context.template.texts.headline,
         hd.sr.TextContentItem(concept(name), text, relationship_type=contains))
        for name, text in group.texts
    ]  # fmt: skip
    items = list(item.ContentSequence)
    first, rest = (
        [each for is_first, each in texts if is_first],
        [each for is_first, each in texts if not is_first],
    )
    item.ContentSequence = [*items[:2], *first, *items[2:], *rest]
    separate(item)
    return item


def written(item: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, item, list(LATIN))
    return buffer.getvalue()


@pytest.mark.parametrize("make", [preview_film, preview_film_with_map])
def test_every_group_is_byte_by_byte_what_highdicom_makes_of_it(make: Any) -> None:
    film, context = make(), preview_context(TEMPLATE)
    groups = groups_of(film, context)
    assert len(groups) > 10
    for group in groups:
        assert filled(group, film, context) == by_highdicom(group, film, context), group.key


def test_highdicom_reads_the_report_that_was_filled_in() -> None:
    context = preview_context(TEMPLATE)
    for item in write_results([preview_film_with_map()], context)[:2]:
        document = hd.sr.srread(io.BytesIO(item.data))
        found = document.content.get_planar_roi_measurement_groups()
        assert len(found) == len(groups_of(preview_film_with_map(), context))


def impression(film: AnalysedFilm, context: Context) -> Group:
    return next(each for each in groups_of(film, context) if each.key == "impression")


def test_letters_that_the_character_set_lacks_are_refused_each_time() -> None:
    film, context = preview_film(), preview_context(TEMPLATE)
    group = impression(film, context)
    concluded = tuple((name, "Пневмония") for name, _ in group.texts)
    for _ in range(2):
        with pytest.raises(IdentityNotPreserved):
            filled(replace(group, texts=concluded), film, context)


def test_what_is_no_line_and_no_number_is_refused() -> None:
    film, context = preview_film(), preview_context(TEMPLATE)
    group = impression(film, context)
    number = group.numbers[0]
    for broken in (
        replace(group, place=np.array([[1.0, np.nan], [2.0, 3.0]])),
        replace(group, place=np.array([[1.0, 2.0]])),
        replace(group, numbers=(replace(number, shown="many"), *group.numbers[1:])),
        replace(group, numbers=(replace(number, exact=float("inf")), *group.numbers[1:])),
    ):
        with pytest.raises(ResultError):
            filled(broken, film, context)


@pytest.mark.parametrize("uid", ["1.2.3", "2.25.1234567", derived_uid("a longer one")])
def test_another_name_changes_nothing_but_the_name(
    make_film: MakeFilm, context: Context, uid: str
) -> None:
    for item in write_results([make_film()], context):
        data = renamed(item.data, item.sop_class_uid, uid)
        before, after = (pydicom.dcmread(io.BytesIO(each)) for each in (item.data, data))
        assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == uid
        again = io.BytesIO()
        after.save_as(again, enforce_file_format=True)
        assert again.getvalue() == data
        after.SOPInstanceUID = before.SOPInstanceUID
        assert before == after
        assert renamed(data, item.sop_class_uid, item.sop_instance_uid) == item.data
