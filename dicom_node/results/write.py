"""All result objects of one study, as bytes that never change again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from dicom_node.errors import ResultError
from dicom_node.records import ObjectKind
from dicom_node.results.capture import capture
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import check_one_patient, file_bytes
from dicom_node.results.regions import places_of
from dicom_node.results.report import SOP_CLASSES, PlacedFilm, report
from dicom_node.uids import derived_uid

__all__ = ["AnalysedFilm", "Context", "NetworkCard", "WrittenObject", "write_results"]


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """A result as a Part 10 file. Alternatives of the same report share ``group``."""

    group: str
    kind: ObjectKind
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    data: bytes


def write_results(films: Sequence[AnalysedFilm], context: Context) -> tuple[WrittenObject, ...]:
    """Return the report in each SR class and one capture an analysed film, all of one study.

    Declined and failed films are mentioned in the report. Deterministic: the same films and
    context give the same bytes. Raises `ResultError`, and `IdentityNotPreserved` where patient or
    study of a result would not be exactly the source's.
    """
    with warnings.catch_warnings():
        # A film's values that break their VR are copied as they came; pydicom would quote them.
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        return _written_results(_shown(films), context)


def _written_results(films: Sequence[AnalysedFilm], context: Context) -> tuple[WrittenObject, ...]:
    check_one_patient([film.dataset for film in films])
    placed = [(film, places_of(film)) for film in films]
    captures = [
        _capture(film, context, number)
        for number, film in enumerate(films, 1)
        if film.findings.finding is not None
    ]
    return (*_reports(placed, context), *captures)


def _shown(films: Sequence[AnalysedFilm]) -> list[AnalysedFilm]:
    """Return the films with findings, then the others that have a matrix to point at.

    Each in the order in which they were taken; as they came where the films do not tell.
    """
    ordered = sorted(films, key=_taken)
    found = [film for film in ordered if film.findings.finding is not None]
    others = [film for film in ordered if film.findings.finding is None]
    if not found:
        raise ResultError("There is no analysed film to report.")
    return found + [film for film in others if "Rows" in film.dataset and "Columns" in film.dataset]


def _taken(film: AnalysedFilm) -> tuple[str, ...]:
    source = film.dataset
    when = (str(source.get(f"Acquisition{part}") or "") for part in ("Date", "Time"))
    return (*when, str(source.get("InstanceNumber") or "").strip().zfill(12))


def _reports(placed: Sequence[PlacedFilm], context: Context) -> Iterator[WrittenObject]:
    films = [film for film, _ in placed]
    facts = (*context.facts(films), str(context.revision))
    group = f"sr:{derived_uid('group', 'sr', *facts)}"
    document = report(placed, context, derived_uid("sr", *facts, SOP_CLASSES[0]))
    for sop_class in SOP_CLASSES:
        document.SOPClassUID = sop_class
        document.SOPInstanceUID = derived_uid("sr", *facts, sop_class)
        yield _written(group, ObjectKind.REPORT, films[0].dataset, document)


def _capture(film: AnalysedFilm, context: Context, number: int) -> WrittenObject:
    uid = derived_uid("capture", *context.facts([film]))
    document = capture(film, context, uid, number)
    return _written(f"capture:{uid}", ObjectKind.CAPTURE, film.dataset, document)


def _written(group: str, kind: ObjectKind, source: Dataset, document: Dataset) -> WrittenObject:
    data = file_bytes(document, source)
    return WrittenObject(
        group=group,
        kind=kind,
        sop_instance_uid=str(document.SOPInstanceUID),
        sop_class_uid=str(document.SOPClassUID),
        series_instance_uid=str(document.SeriesInstanceUID),
        data=data,
    )
