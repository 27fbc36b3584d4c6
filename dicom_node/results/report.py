"""The Structured Report: TID 1500 with a planar region (TID 1410) in every measurement group.

One tree serves Comprehensive, Comprehensive 3D and Enhanced SR; every container is SEPARATE, since
DCMTK and Weasis print the numbers of CONTINUOUS ones without their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import highdicom as hd
from highdicom.sr import CodedConcept, RelationshipTypeValues
from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
)

from dicom_node import __version__
from dicom_node.imaging.header import header_of
from dicom_node.imaging.received import can_hold
from dicom_node.imaging.values import items as items_of
from dicom_node.imaging.values import text as text_of
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.groups import groups_of
from dicom_node.results.library import image_library
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    copy_identity,
    evidence_of,
    reference_to,
    requests_of,
    set_equipment,
    set_times,
)
from dicom_node.results.regions import Places
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import Group, Number, Site
from dicom_node.uids import derived_uid

SOP_CLASSES = (ComprehensiveSRStorage, Comprehensive3DSRStorage, EnhancedSRStorage)
"""Alternatives of one report, the default first."""

SERIES_OFFSET = 1
PRIVATE_SCHEME = "99DICOMNODE"
_FAMILY = CodedConcept("123110", "DCM", "Artificial Intelligence")
_MEASUREMENTS = "126010"
_TRACKING = 2
"""Items that a group begins with: Tracking Identifier and its UID."""

_CHEST = {"CHEST", "THORAX", "LUNG", "CHESTABDOMEN"}
_CHEST_CODES = {("SCT", "51185008"), ("SRT", "T-D3000")}

_Content = (
    hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | hd.sr.MeasurementsAndQualitativeEvaluations
)

PlacedFilm = tuple[AnalysedFilm, Places]
"""A film with where its network looked."""


def groups_of_study(placed: Sequence[PlacedFilm], context: Context) -> list[list[Group]]:
    """Return the measurement groups of each film, in the order of the report.

    What the algorithms ran with stands behind the groups of all films.
    """
    return [
        list(groups_of(film, places, context, _where(number, len(placed))))
        for number, (film, places) in enumerate(placed, 1)
    ]


def report(
    films: Sequence[AnalysedFilm], groups: Sequence[Sequence[Group]], context: Context, uid: str
) -> Dataset:
    """Return the report on the films of one study as a data set of the first of `SOP_CLASSES`.

    ``groups``: those of each film, as `groups_of_study` returns them. The other classes differ
    from it in SOP Class and SOP Instance UID alone; Basic Text is made from it by
    `dicom_node.results.basic_text`.

    Raises `ResultError` where findings do not say which network answered.
    """
    first = films[0].dataset
    tree = _tree(films, groups, context)
    items, library = list(tree.ContentSequence), image_library([film.dataset for film in films])
    # highdicom copies and searches what it is given several times, which is half of the work of a
    # report. The library refers to every film, so that the evidence is that of the whole tree.
    tree.ContentSequence = [library]
    document: Dataset = hd.sr.ComprehensiveSR(
        evidence=[evidence_of(film.dataset) for film in films],
        content=tree,
        series_instance_uid=context.series_uid(first, "sr"),
        series_number=context.series_number_base + SERIES_OFFSET,
        sop_instance_uid=uid,
        instance_number=context.revision,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        is_complete=True,
        is_final=False,
        is_verified=False,
        requested_procedures=requests_of(first) or None,
    )
    names = [str(item.ConceptNameCodeSequence[0].get("CodeValue")) for item in items]
    place = names.index(_MEASUREMENTS)
    document.ContentSequence = [*items[:place], library, *items[place:]]
    _separate(document)
    copy_identity(first, document)
    set_times(first, document, [film.dataset for film in films])
    set_equipment(first, document, context.cards(films), context.node_ae_title)
    _general(document, first, context)
    return document


def _general(document: Dataset, source: Dataset, context: Context) -> None:
    """Set what the SR document says of itself: unsigned, preliminary, what it replaces."""
    document.SeriesDescription = context.template.report_description
    document.BodyPartExamined = "CHEST"
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.CodingSchemeIdentificationSequence = [_coding_scheme()]
    if context.predecessors:
        document.PredecessorDocumentsSequence = [_predecessors(source, context)]


def _tree(
    films: Sequence[AnalysedFilm], groups: Sequence[Sequence[Group]], context: Context
) -> Dataset:
    template = context.template
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=_observer(context)),
        procedure_reported=_procedure(films[0].dataset, template),
        imaging_measurements=[
            _content(group, film, context)
            for last in (False, True)
            for film, own in zip(films, groups, strict=True)
            for group in own
            if bool(group.parameters) == last
        ],
        title=concept(template.title),
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            concept(template.language)
        ),
    )
    tree: Dataset = content[0]
    return tree


def _where(number: int, films: int) -> str:
    return f", film {number}" if films > 1 else ""


def concept(code: Code) -> CodedConcept:
    """Return a template's code as highdicom's."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def _observer(context: Context) -> hd.sr.ObserverContext:
    return hd.sr.ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", context.node_ae_title),
            name=context.node_ae_title,
            manufacturer_name=MANUFACTURER,
            model_name=f"{MODEL_NAME} {__version__}",
            serial_number=context.node_ae_title,
        ),
    )


def _procedure(source: Dataset, template: Template) -> CodedConcept:
    for keyword in ("ProcedureCodeSequence", "PerformedProtocolCodeSequence"):
        for item in items_of(source, keyword):
            value, scheme = text_of(item, "CodeValue"), text_of(item, "CodingSchemeDesignator")
            meaning = text_of(item, "CodeMeaning")
            if value and scheme and _is_whole(item, value + scheme):
                # What its character set does not have cannot be written whole.
                legible = meaning and _is_whole(item, meaning)
                return CodedConcept(value, scheme, meaning[:64] if legible else value)
    header = header_of(source)
    regions = {(code.scheme, code.value) for code in header.anatomic_regions}
    of_chest = header.body_part_examined.upper() in _CHEST or regions & _CHEST_CODES
    return concept(template.procedure_chest if of_chest else template.procedure)


def _is_whole(item: Dataset, text: str) -> bool:
    return "\N{REPLACEMENT CHARACTER}" not in text and can_hold(item, text)


def _content(group: Group, film: AnalysedFilm, context: Context) -> _Content:
    context.alive()
    content = _bare(group, film, context)
    items = content[0].ContentSequence
    _show([item for item in items if item.ValueType == "NUM"], group)
    contains = RelationshipTypeValues.CONTAINS
    texts = [
        hd.sr.TextContentItem(concept(name), text, relationship_type=contains)
        for name, text in group.texts
    ]
    # What a group concludes stands before its numbers: it begins with identifier and UID.
    first = [item for item in texts if item.name == concept(context.template.texts.headline)]
    rest = [item for item in texts if item not in first]
    content[0].ContentSequence = [*items[:_TRACKING], *first, *items[_TRACKING:], *rest]
    return content


def _bare(group: Group, film: AnalysedFilm, context: Context) -> _Content:
    """Return the group without its sentences: with its place (TID 1410), or of the whole film."""
    source = film.dataset
    common: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(
            uid=derived_uid("tracking", source.SOPInstanceUID, group.key),
            identifier=group.tracking,
        ),
        "finding_type": concept(group.finding) if group.finding else None,
        "finding_sites": [_site(group.site)] if group.site else None,
        "algorithm_id": _algorithm(group, film, context),
        "measurements": [
            hd.sr.Measurement(concept(number.name), number.exact, _unit(number))
            for number in group.numbers
        ]
        or None,
        "qualitative_evaluations": [
            hd.sr.QualitativeEvaluation(concept(name), concept(answer))
            for name, answer in group.evaluations
        ]
        or None,
    }
    image = hd.sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID)
    if group.place is None:
        whole = hd.sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)
        return hd.sr.MeasurementsAndQualitativeEvaluations(source_images=[whole], **common)
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=group.place,
            source_image=image,
        ),
        **common,
    )


def _unit(number: Number) -> CodedConcept:
    value, meaning, _ = number.unit.value
    return CodedConcept(value, "UCUM", meaning)


def _site(site: Site) -> hd.sr.FindingSite:
    return hd.sr.FindingSite(concept(site.place), laterality=concept(site.laterality))


def _show(items: Sequence[Dataset], group: Group) -> None:
    # People read Numeric Value, rounded; Floating Point Value beside it keeps every digit.
    for item, number in zip(items, group.numbers, strict=True):
        item.MeasuredValueSequence[0].NumericValue = number.shown.replace(",", ".")
        if number.also is not None:
            # PS3.3 section 8.8: a code of the same meaning, beside the one that viewers print.
            item.ConceptNameCodeSequence[0].EquivalentCodeSequence = [concept(number.also)]


def _algorithm(
    group: Group, film: AnalysedFilm, context: Context
) -> hd.sr.AlgorithmIdentification | None:
    if not group.network:
        return None
    card = context.card(film, group.network)
    return hd.sr.AlgorithmIdentification(
        name=card.title,
        version=card.version,
        family=_FAMILY,
        parameters=list(group.parameters) or None,
    )


def _separate(item: Dataset) -> None:
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence") or ():
        _separate(child)


def _coding_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = derived_uid("coding scheme", PRIVATE_SCHEME)
    item.CodingSchemeName = "dicom-node"
    item.CodingSchemeResponsibleOrganization = "dicom-node"
    return item


def _predecessors(source: Dataset, context: Context) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID = source.StudyInstanceUID
    study.ReferencedSeriesSequence = []
    ordered = sorted(context.predecessors, key=lambda each: each[2])
    for series_uid, reports in groupby(ordered, key=lambda each: each[2]):
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = [reference_to(*each[:2]) for each in reports]
        study.ReferencedSeriesSequence.append(series)
    return study
