"""The Structured Report: TID 1500 with a planar region (TID 1410) in every measurement group.

One tree serves Comprehensive, Comprehensive 3D and Enhanced SR; every container is SEPARATE, since
DCMTK and Weasis print the numbers of CONTINUOUS ones without their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby

import highdicom as hd
from highdicom.sr import CodedConcept
from highdicom.sr.utils import collect_evidence
from pydicom import DataElement, Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from dicom_node import __version__
from dicom_node.imaging.header import body_part_of
from dicom_node.imaging.received import can_hold
from dicom_node.imaging.values import items as items_of
from dicom_node.imaging.values import text as text_of
from dicom_node.results.films import AnalysedFilm, Context, part_examined
from dicom_node.results.groups import groups_of
from dicom_node.results.library import image_library, reference_in_tree
from dicom_node.results.measured import (
    SMALLEST,
    Shape,
    Values,
    concept,
    content_of_shape,
    separate,
    shape_of,
    stencil_of,
    values_of,
)
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    coding_scheme,
    copy_identity,
    evidence_of,
    reference_to,
    requests_of,
    set_equipment,
    set_times,
)
from dicom_node.results.names import UNNAMED
from dicom_node.results.regions import Places
from dicom_node.results.reissue import TREES
from dicom_node.results.stencil import (
    CONTENT,
    Encodings,
    content_of,
    cut,
    encodings_of,
    fill,
    sequence,
)
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import PRIVATE_SCHEME, Group
from dicom_node.uids import derived_uid

SOP_CLASSES = TREES

SERIES_OFFSET = 1
_CHEST = {"CHEST", "THORAX", "LUNG", "CHESTABDOMEN"}
_CHEST_CODES = {("SCT", "51185008"), ("SRT", "T-D3000")}

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
    `dicom_node.results.reissue`.

    Raises `ResultError` where findings do not say which network answered.
    """
    first = films[0].dataset
    title = _Title.of(films, context)
    document = Dataset()
    for item in _frame(title):
        # Another element each time: what is set on this report stays on this report.
        document[item.tag] = DataElement(item.tag, item.VR, item.value, already_converted=True)
    document.SOPInstanceUID = uid
    document.SeriesInstanceUID = context.series_uid(first, "sr")
    document.SeriesNumber = context.series_number_base + SERIES_OFFSET
    document.InstanceNumber = context.revision
    _refer(document, films)
    copy_identity(first, document)
    set_times(first, document, [film.dataset for film in films])
    set_equipment(first, document, context.cards(films), context.node_ae_title)
    _general(document, films, context)
    library = partial(image_library, [film.dataset for film in films])
    _fill_in(document, title, library, _measured(films, groups, context))
    return document


@lru_cache(maxsize=64)
def _frame(title: _Title) -> Dataset:
    """Return the document around a tree, on a film that nobody took, as highdicom makes it."""
    film = evidence_of(Dataset())
    film.SOPClassUID, film.SOPInstanceUID = DigitalXRayImageStorageForPresentation, UNNAMED
    film.StudyInstanceUID = film.SeriesInstanceUID = UNNAMED
    return hd.sr.ComprehensiveSR(
        evidence=[film],
        content=_tree(title, [film]),
        series_instance_uid=UNNAMED,
        series_number=1,
        sop_instance_uid=UNNAMED,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )


def _tree(title: _Title, sources: Iterable[Dataset]) -> Dataset:
    """Return a tree with a reference to every film, so that its evidence is that of the whole."""
    tree = Dataset()
    tree.update({item.tag: item for item in _root(title) if item.tag != CONTENT})
    tree.ContentSequence = [reference_in_tree(source) for source in sources]
    return tree


def _refer(document: Dataset, films: Sequence[AnalysedFilm]) -> None:
    """Say which films the report is of, and which requests it answers."""
    first, empty = films[0].dataset, Dataset()
    empty.ContentSequence = []
    evidence = [evidence_of(film.dataset) for film in films]
    own, others = collect_evidence(evidence, empty, evidence[0].StudyInstanceUID)
    document.CurrentRequestedProcedureEvidenceSequence = own
    if others:
        document.PertinentOtherEvidenceSequence = others
    if requests := requests_of(first):
        document.ReferencedRequestSequence = requests


def _fill_in(
    document: Dataset,
    title: _Title,
    library: Callable[[Encodings], bytes],
    measured: Iterable[tuple[Shape, Values]],
) -> None:
    """Give the document its content, of which highdicom has made every kind of item before."""
    encodings = encodings_of(document)
    document.ContinuityOfContent = "SEPARATE"
    *context, container = _opening(title, encodings)
    groups = [fill(stencil_of(shape, encodings), values, encodings) for shape, values in measured]
    items = [*context, library(encodings), container + sequence(CONTENT, groups)]
    document[CONTENT] = content_of(items)
    document.set_original_encoding(False, True, list(encodings))  # noqa: FBT003 - explicit, little


def _general(document: Dataset, films: Sequence[AnalysedFilm], context: Context) -> None:
    """Set what the SR document says of itself: unsigned, preliminary, what it replaces."""
    source = films[0].dataset
    document.SeriesDescription = context.template.report_description
    if part := part_examined(films):
        document.BodyPartExamined = part
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "UNVERIFIED"
    document.PreliminaryFlag = "PRELIMINARY"
    document.CodingSchemeIdentificationSequence = [coding_scheme(PRIVATE_SCHEME)]
    if context.predecessors:
        document.PredecessorDocumentsSequence = [_predecessors(source, context)]


@dataclass(frozen=True, slots=True)
class _Title:
    """What a report begins with: who observed, what was done, what it is, in which language."""

    node_ae_title: str
    procedure: tuple[str, str, str]
    title: Code
    language: Code

    @classmethod
    def of(cls, films: Sequence[AnalysedFilm], context: Context) -> _Title:
        template = context.template
        procedure = _procedure(films, template)
        return cls(context.node_ae_title, procedure, template.title, template.language)


@lru_cache(maxsize=64)
def _root(title: _Title) -> Dataset:
    """Return the root of a tree whose measurements are empty."""
    whole = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=_observer(title.node_ae_title)
        ),
        procedure_reported=CodedConcept(*title.procedure),
        imaging_measurements=[content_of_shape(SMALLEST)],
        title=concept(title.title),
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(
            concept(title.language)
        ),
    )
    root: Dataset = whole[0]
    separate(root)
    del root.ContentSequence[-1].ContentSequence
    return root


@lru_cache(maxsize=64)
def _opening(title: _Title, encodings: Encodings) -> tuple[bytes, ...]:
    """Return the items of a root encoded; the last one is the container of measurements."""
    items = _root(title).ContentSequence
    return tuple(fill(cut(item, {}, encodings), {}, encodings) for item in items)


def _measured(
    films: Sequence[AnalysedFilm], groups: Sequence[Sequence[Group]], context: Context
) -> Iterator[tuple[Shape, Values]]:
    """Yield the groups of all films, and behind them what the algorithms ran with."""
    for last in (False, True):
        for film, own in zip(films, groups, strict=True):
            for group in (group for group in own if bool(group.parameters) == last):
                context.alive()
                yield shape_of(group, film, context), values_of(group, film)


def _where(number: int, films: int) -> str:
    return f", film {number}" if films > 1 else ""


def _observer(node_ae_title: str) -> hd.sr.ObserverContext:
    return hd.sr.ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", node_ae_title),
            name=node_ae_title,
            manufacturer_name=MANUFACTURER,
            model_name=f"{MODEL_NAME} {__version__}",
            serial_number=node_ae_title,
        ),
    )


def _procedure(films: Sequence[AnalysedFilm], template: Template) -> tuple[str, str, str]:
    """Return what was done, as value, scheme and meaning.

    As the first film states it; else of the chest, as many views as there are films, where all of
    them are of it.
    """
    source = films[0].dataset
    for keyword in ("ProcedureCodeSequence", "PerformedProtocolCodeSequence"):
        for item in items_of(source, keyword):
            value, scheme = text_of(item, "CodeValue"), text_of(item, "CodingSchemeDesignator")
            meaning = text_of(item, "CodeMeaning")
            if value and scheme and _is_whole(item, value + scheme):
                # What its character set does not have cannot be written whole.
                legible = meaning and _is_whole(item, meaning)
                return value, scheme, meaning[:64] if legible else value
    code = template.procedure
    if all(_is_of_chest(film.dataset) for film in films):
        single = template.procedure_chest_ap if films[0].view == "AP" else template.procedure_chest
        code = single if len(films) == 1 else template.procedure_chest_views
    return code.value, code.scheme, code.meaning


def _is_of_chest(source: Dataset) -> bool:
    part, codes = body_part_of(source)
    regions = {(code.scheme, code.value) for code in codes}
    return part.upper() in _CHEST or bool(regions & _CHEST_CODES)


def _is_whole(item: Dataset, text: str) -> bool:
    return "\N{REPLACEMENT CHARACTER}" not in text and can_hold(item, text)


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
