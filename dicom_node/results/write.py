"""All result objects of one study, as bytes that never change again."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding

from dicom_node.errors import ResultError
from dicom_node.records import ObjectKind
from dicom_node.results.basic_text import basic_text
from dicom_node.results.capture import capture, overlay
from dicom_node.results.cards import NetworkCard
from dicom_node.results.document import document
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.key_objects import is_of_interest, key_objects
from dicom_node.results.modules import check_one_patient, file_bytes, reissued
from dicom_node.results.presentation import presentation
from dicom_node.results.regions import places_of
from dicom_node.results.report import SOP_CLASSES, PlacedFilm, groups_of_study, report
from dicom_node.results.segmentation import lung_segmentation, saliency_segmentation
from dicom_node.uids import derived_uid

__all__ = ["AnalysedFilm", "Context", "NetworkCard", "WrittenObject", "write_results"]

_OVERLAYS = 100
"""Overlays of film 1 are instances 101, 102 …: beside its capture, instance 1."""


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """A result as a Part 10 file. Alternatives of the same report share ``group``."""

    group: str
    kind: ObjectKind
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    data: bytes


def write_results(
    films: Sequence[AnalysedFilm],
    context: Context,
    kinds: Collection[ObjectKind] = (ObjectKind.REPORT, ObjectKind.CAPTURE),
) -> tuple[WrittenObject, ...]:
    """Return the objects of ``kinds`` on the films of one study, the report first.

    The report exists once an SR class. Declined and failed films are mentioned in it; where there
    are no others, there is a report alone. Deterministic: the same films and context give the same
    bytes. Raises `ResultError`, and `IdentityNotPreserved` where patient or study of a result would
    not be exactly the source's.
    """
    with warnings.catch_warnings():
        # A film's values that break their VR are copied as they came; pydicom would quote them.
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        return tuple(_written_results(_shown(films), context, kinds))


def _written_results(
    films: Sequence[AnalysedFilm], context: Context, kinds: Collection[ObjectKind]
) -> Iterator[WrittenObject]:
    check_one_patient([film.dataset for film in films])
    context = replace(context, template=context.template.spoken_in(_encodings(films[0])))
    found = [film for film in films if film.findings.finding is not None]
    if ObjectKind.REPORT in kinds:
        yield from _reports([(film, places_of(film)) for film in films], context)
    for number, film in enumerate(found, 1):
        for kind in (kind for kind in _OF_A_FILM if kind in kinds):
            yield from _OF_A_FILM[kind](film, context, number)
    for kind in (kind for kind in _OF_A_STUDY if kind in kinds and found):
        yield from _OF_A_STUDY[kind](found, context)


def _encodings(film: AnalysedFilm) -> list[str]:
    """Return the codecs of the film's character set; the default one is ASCII (PS3.5 6.1)."""
    found = convert_encodings(film.dataset.get("SpecificCharacterSet"))
    return ["ascii" if name == default_encoding else name for name in found]


def _shown(films: Sequence[AnalysedFilm]) -> list[AnalysedFilm]:
    """Return the films with findings, then the others.

    Each in the order in which they were taken; as they came where the films do not tell.
    """
    ordered = sorted(films, key=_taken)
    if not ordered:
        raise ResultError("There is no film to report.")
    found = [film for film in ordered if film.findings.finding is not None]
    return found + [film for film in ordered if film.findings.finding is None]


def _taken(film: AnalysedFilm) -> tuple[str, ...]:
    source = film.dataset
    when = (str(source.get(f"Acquisition{part}") or "") for part in ("Date", "Time"))
    return (*when, str(source.get("InstanceNumber") or "").strip().zfill(12))


def _reports(placed: Sequence[PlacedFilm], context: Context) -> Iterator[WrittenObject]:
    films = [film for film, _ in placed]
    facts = (*context.facts(films), str(context.revision))
    group = f"sr:{derived_uid('group', 'sr', *facts)}"
    source = films[0].dataset
    uids = {each: derived_uid("sr", *facts, each) for each in SOP_CLASSES}
    groups = groups_of_study(placed, context)
    written = report(films, groups, context, uids[SOP_CLASSES[0]])
    first = _written(group, ObjectKind.REPORT, source, written)
    yield first
    for sop_class in SOP_CLASSES[1:]:
        data = reissued(first.data, source, sop_class, uids[sop_class])
        yield replace(first, sop_class_uid=sop_class, sop_instance_uid=uids[sop_class], data=data)
    plain = basic_text(written, [group for own in groups for group in own])
    plain.SOPInstanceUID = derived_uid("sr", *facts, plain.SOPClassUID)
    yield _written(group, ObjectKind.REPORT, source, plain)


def _captures(film: AnalysedFilm, context: Context, number: int) -> Iterator[WrittenObject]:
    uid = derived_uid("capture", *context.facts([film]))
    written = capture(film, context, uid, number)
    yield _written(f"capture:{uid}", ObjectKind.CAPTURE, film.dataset, written)


def _overlays(film: AnalysedFilm, context: Context, number: int) -> Iterator[WrittenObject]:
    for place, heat in enumerate(film.saliency, 1):
        uid = derived_uid("overlay", heat.network, *context.facts([film]))
        written = overlay(film, context, heat, uid, number * _OVERLAYS + place)
        yield _written(f"overlay:{uid}", ObjectKind.OVERLAYS, film.dataset, written)


def _presentations(film: AnalysedFilm, context: Context, number: int) -> Iterator[WrittenObject]:
    uid = derived_uid("presentation", *context.facts([film]))
    written = presentation(film, context, uid, number)
    yield _written(f"presentation:{uid}", ObjectKind.PRESENTATION, film.dataset, written)


def _segmentations(film: AnalysedFilm, context: Context, number: int) -> Iterator[WrittenObject]:
    for make in (lung_segmentation, saliency_segmentation):
        uid = derived_uid("segmentation", make.__name__, *context.facts([film]))
        written = make(film, context, uid, number)
        if written is not None:
            yield _written(f"segmentation:{uid}", ObjectKind.SEGMENTATION, film.dataset, written)


def _documents(films: Sequence[AnalysedFilm], context: Context) -> Iterator[WrittenObject]:
    uid = derived_uid("document", *context.facts(films), str(context.revision))
    written = document(films, context, uid)
    yield _written(f"document:{uid}", ObjectKind.DOCUMENT, films[0].dataset, written)


def _key_objects(films: Sequence[AnalysedFilm], context: Context) -> Iterator[WrittenObject]:
    uid = derived_uid("key objects", *context.facts(films), str(context.revision))
    if any(is_of_interest(film) for film in films):
        written = key_objects(films, context, uid)
        yield _written(f"key-objects:{uid}", ObjectKind.KEY_OBJECTS, films[0].dataset, written)


_OF_A_FILM = {
    ObjectKind.CAPTURE: _captures,
    ObjectKind.OVERLAYS: _overlays,
    ObjectKind.PRESENTATION: _presentations,
    ObjectKind.SEGMENTATION: _segmentations,
}
_OF_A_STUDY = {ObjectKind.DOCUMENT: _documents, ObjectKind.KEY_OBJECTS: _key_objects}


def _written(group: str, kind: ObjectKind, source: Dataset, written: Dataset) -> WrittenObject:
    data = file_bytes(written, source)
    return WrittenObject(
        group=group,
        kind=kind,
        sop_instance_uid=str(written.SOPInstanceUID),
        sop_class_uid=str(written.SOPClassUID),
        series_instance_uid=str(written.SeriesInstanceUID),
        data=data,
    )
