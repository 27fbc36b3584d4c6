"""The films and results of the node as DICOMweb sees them: studies, series, instances."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.imaging.decode import decode, little_endian
from dicom_node.imaging.header import read_attributes, read_dataset, transfer_syntax_of
from dicom_node.ledger.casebook import Case
from dicom_node.records import Digest, ResultObject, StudyId
from dicom_node.results.stored import newest
from dicom_node.web.house import House

_NATIVE = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})

STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
)  # fmt: skip
SERIES = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "BodyPartExamined",
)  # fmt: skip
INSTANCE = (
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
    "NumberOfFrames",
)  # fmt: skip
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@dataclass(frozen=True, slots=True)
class Kept:
    """One instance whose bytes are in the spool."""

    sop_instance_uid: str
    series_instance_uid: str
    digest: Digest


def kept(house: House, study_id: StudyId) -> list[Kept]:
    """Return films and the results of the last report; of each group of alternatives the first."""
    films = [
        Kept(item.sop_instance_uid, item.series_instance_uid, item.digest)
        for item in newest(house.ledger.instances(study_id))
    ]
    results = house.ledger.results(study_id)
    last = max((item.revision for item in results), default=0)
    first: dict[str, ResultObject] = {}
    for item in results:
        if item.revision == last:
            first.setdefault(item.group, item)
    return films + [
        Kept(item.sop_instance_uid, item.series_instance_uid, item.digest)
        for item in first.values()
    ]


def chosen(items: Sequence[Kept], series: str | None, instance: str | None) -> list[Kept]:
    """Return those of a series, and of an instance, where they are asked for."""
    return [
        item
        for item in items
        if (series is None or item.series_instance_uid == series)
        and (instance is None or item.sop_instance_uid == instance)
    ]


def attributes(house: House, item: Kept) -> Dataset:
    """Return an instance up to its Pixel Data."""
    return read_attributes(house.spool.path(item.digest))


def as_json(
    dataset: Dataset, keywords: Sequence[str], more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return attributes as DICOM JSON (PS3.18 annex F); absent ones are empty."""
    picked = Dataset()
    for keyword in keywords:
        setattr(picked, keyword, dataset.get(keyword))
    for keyword, value in (more or {}).items():
        setattr(picked, keyword, value)
    return json_of(picked)


def json_of(dataset: Dataset, bulk: str = "") -> dict[str, Any]:
    """Return a data set as DICOM JSON; bulk data by its address under ``bulk``."""
    with warnings.catch_warnings():
        # Values that break their VR are shown as they came.
        warnings.simplefilter("ignore")
        document: dict[str, Any] = {}
        for element in dataset:
            if element.tag.group == 2 or (element.VR in _BULK and not bulk):
                continue
            if element.VR in _BULK:
                address = f"{bulk}/bulk/{element.tag:08X}"
                document[f"{element.tag:08X}"] = {"vr": element.VR, "BulkDataURI": address}
                continue
            single = Dataset()
            single[element.tag] = element
            document |= single.to_json_dict(bulk_data_threshold=1 << 30, suppress_invalid_tags=True)
    return document


def study_json(house: House, case: Case, base: str) -> dict[str, Any] | None:
    """Return a study for QIDO-RS; None where no instance of it is legible."""
    items = kept(house, case.study_id)
    if not items:
        return None
    headers = [attributes(house, item) for item in items]
    modalities = sorted({str(each.get("Modality") or "") for each in headers} - {""})
    more = {
        "ModalitiesInStudy": modalities,
        "RetrieveURL": f"{base}/studies/{case.study_instance_uid}",
        "InstanceAvailability": "ONLINE",
        "NumberOfStudyRelatedSeries": len({item.series_instance_uid for item in items}),
        "NumberOfStudyRelatedInstances": len(items),
    }
    return as_json(headers[0], STUDY, more)


def series_json(house: House, study: str, items: Sequence[Kept], base: str) -> Iterator[Any]:
    """Yield the series of some instances of a study."""
    by_series: dict[str, list[Kept]] = {}
    for item in items:
        by_series.setdefault(item.series_instance_uid, []).append(item)
    for uid, members in by_series.items():
        more = {
            "RetrieveURL": f"{base}/studies/{study}/series/{uid}",
            "NumberOfSeriesRelatedInstances": len(members),
            "StudyInstanceUID": study,
        }
        yield as_json(attributes(house, members[0]), SERIES, more)


def address_of(base: str, study: str, series: str, instance: str) -> str:
    """Return where an instance is retrieved."""
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


def instance_json(house: House, study: str, item: Kept, base: str) -> dict[str, Any]:
    """Return one instance for QIDO-RS."""
    more = {
        "RetrieveURL": address_of(base, study, item.series_instance_uid, item.sop_instance_uid),
        "InstanceAvailability": "ONLINE",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": item.series_instance_uid,
    }
    return as_json(attributes(house, item), INSTANCE, more)


def as_sent(house: House, item: Kept, *, any_syntax: bool) -> tuple[str, bytes]:
    """Return an instance's Transfer Syntax UID and Part 10 bytes.

    Explicit VR Little Endian unless the client takes any (PS3.18 8.7.3.5.2). Raises `ImageError`
    where the film cannot be decoded.
    """
    data = house.spool.read(item.digest)
    dataset = read_dataset(data)
    syntax = transfer_syntax_of(dataset)
    if any_syntax or UID(syntax) == ExplicitVRLittleEndian:
        return syntax, data
    if UID(syntax) not in _NATIVE and "PixelData" in dataset:
        pixels = decode(dataset)
        dataset.PixelData = little_endian(pixels)
        dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(
            buffer, dataset, enforce_file_format=True, implicit_vr=False, little_endian=True
        )
    return str(ExplicitVRLittleEndian), buffer.getvalue()
