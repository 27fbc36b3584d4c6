"""All result objects of one study, as bytes that never change again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.errors import IdentityNotPreserved, ResultError
from dicom_node.records import ObjectKind
from dicom_node.results.capture import capture
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import check_identity, file_bytes
from dicom_node.results.report import SOP_CLASSES, report
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
    """Return the report in each SR class and one capture a film, of analysed films of one study.

    Deterministic: the same films and context give the same bytes. Raises `ResultError`, and
    `IdentityNotPreserved` where patient or study of a result would not be exactly the source's.
    """
    _check_one_patient(films)
    reports = [_report(films, context, sop_class) for sop_class in SOP_CLASSES]
    captures = [_capture(film, context, number) for number, film in enumerate(films, 1)]
    return (*reports, *captures)


def _check_one_patient(films: Sequence[AnalysedFilm]) -> None:
    if not films:
        raise ResultError("There is no analysed film to report.")
    first = films[0].dataset
    for film in films:
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
            if str(film.dataset.get(keyword) or "") != str(first.get(keyword) or ""):
                raise IdentityNotPreserved(
                    f"The films of study {first.StudyInstanceUID} differ in {keyword}.",
                    remedy="Correct the study in the PACS and send it again.",
                )


def _report(films: Sequence[AnalysedFilm], context: Context, sop_class: UID) -> WrittenObject:
    sources = [f"{film.dataset.SOPInstanceUID}:{film.digest}" for film in films]
    facts = (*sources, context.suite(), context.template.digest, context.node_ae_title)
    group = derived_uid("group", "sr", *facts, str(context.revision))
    uid = derived_uid("sr", *facts, str(context.revision), sop_class)
    document = report(films, context, sop_class, uid)
    return _written(f"sr:{group}", ObjectKind.REPORT, films[0].dataset, document)


def _capture(film: AnalysedFilm, context: Context, number: int) -> WrittenObject:
    source = f"{film.dataset.SOPInstanceUID}:{film.digest}"
    facts = (source, context.suite(), context.template.digest, context.node_ae_title)
    uid = derived_uid("capture", *facts)
    document = capture(film, context, uid, number)
    return _written(f"capture:{uid}", ObjectKind.CAPTURE, film.dataset, document)


def _written(group: str, kind: ObjectKind, source: Dataset, document: Dataset) -> WrittenObject:
    data = file_bytes(document)
    check_identity(source, data)
    return WrittenObject(
        group=group,
        kind=kind,
        sop_instance_uid=str(document.SOPInstanceUID),
        sop_class_uid=str(document.SOPClassUID),
        series_instance_uid=str(document.SeriesInstanceUID),
        data=data,
    )
