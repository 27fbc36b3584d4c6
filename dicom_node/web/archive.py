"""The films and results of the node as DICOMweb sees them: studies, series, instances."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pydicom
from pydicom import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.errors import ImageError, SpoolError
from dicom_node.imaging.decode import decode, little_endian
from dicom_node.imaging.header import parsing, read_attributes, read_dataset, transfer_syntax_of
from dicom_node.ledger.cases import CaseRow
from dicom_node.records import Digest, ResultObject, StudyId
from dicom_node.results.facts import INSTANCE, KEPT, SERIES, STUDY, HeaderFact, json_of, vr_of
from dicom_node.results.stored import newest
from dicom_node.web.house import House

_NATIVE = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})

T = TypeVar("T")


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


def legible(house: House, items: Iterable[Kept], read: Callable[[House, Kept], T]) -> Iterator[T]:
    """Yield what ``read`` makes of each instance; damaged and lost ones are told to the log.

    Raises the `ImageError` or `SpoolError` of the last one where none is legible.
    """
    some, fault = False, None
    for item in items:
        try:
            made = read(house, item)
        except (ImageError, SpoolError) as error:
            fault = error
            _tell(house, item, error.message)
            continue
        some = True
        yield made
    if fault is not None and not some:
        raise fault


def attributes(house: House, item: Kept) -> Dataset:
    """Return an instance up to its Pixel Data. Raises `ImageError`."""
    return read_attributes(house.spool.path(item.digest))


def metadata_json(house: House, item: Kept, bulk: str) -> dict[str, Any]:
    """Return a whole instance as DICOM JSON (PS3.18 annex F); bulk data by address under ``bulk``.

    Raises `ImageError` and `SpoolError`.
    """
    dataset = read_dataset(house.spool.read(item.digest))
    tags = (tag for tag in sorted(dataset.keys()) if tag.group != 2)
    told = ((tag, json_of(dataset, tag, bulk)) for tag in tags)
    return _document(house, item, told)


def _picked(
    house: House, item: Kept, said: _Said, keywords: Sequence[str], more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return some attributes of an instance, absent ones empty, and ``more`` that is not in it."""
    added = Dataset()
    with parsing():
        for keyword, value in more.items():
            setattr(added, keyword, value)
    tags = (Tag(keyword) for keyword in keywords)
    told = ((tag, said(tag)) for tag in tags if tag not in added)
    return dict(sorted((_document(house, item, told) | added.to_json_dict()).items()))


def _document(
    house: House, item: Kept, told: Iterable[tuple[BaseTag, dict[str, Any] | None]]
) -> dict[str, Any]:
    """Return a document of attributes; of those without legible value the VR alone."""
    document, without = {}, []
    for tag, value in told:
        document[f"{tag:08X}"] = {"vr": vr_of(tag)} if value is None else value
        if value is None:
            without.append(f"{tag:08X}")
    if without:
        _tell(house, item, f"Values that cannot be told: {', '.join(without)}.")
    return document


def _tell(house: House, item: Kept, reason: str) -> None:
    house.log.event("instance.illegible", sop_instance_uid=item.sop_instance_uid, reason=reason)


def study_json(
    house: House, case: CaseRow, base: str, fields: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Return a study for QIDO-RS, with more ``fields``; None where no instance of it is legible."""
    items = kept(house, case.study_id)
    if not items:
        return None
    try:
        told = list(legible(house, items, headers(house, items, fields)))
    except (ImageError, SpoolError):
        return None
    modalities = sorted({_modality(each) for _, each in told} - {""})
    more = {
        "ModalitiesInStudy": modalities,
        "RetrieveURL": f"{base}/studies/{case.study_instance_uid}",
        "InstanceAvailability": "ONLINE",
        "NumberOfStudyRelatedSeries": len({item.series_instance_uid for item in items}),
        "NumberOfStudyRelatedInstances": len(items),
    }
    return _picked(house, *told[0], (*STUDY, *fields), more)


_Said = Callable[[BaseTag], dict[str, Any] | None]
"""Gives an attribute of one instance as DICOM JSON, None without legible value."""


def headers(
    house: House, items: Sequence[Kept], fields: Sequence[str]
) -> Callable[[House, Kept], tuple[Kept, _Said]]:
    """Return what gives the attributes of an instance: from the ledger if it has all ``fields``."""
    known = house.ledger.facts(item.digest for item in items) if KEPT.issuperset(fields) else {}

    def read(house: House, item: Kept) -> tuple[Kept, _Said]:
        fact = HeaderFact.from_json_text(known[item.digest]) if item.digest in known else None
        if fact is None:
            dataset = attributes(house, item)
            return item, lambda tag: json_of(dataset, tag, "")
        told = {int(Tag(keyword)): value for keyword, value in fact.attributes.items()}
        return item, lambda tag: told.get(int(tag), {"vr": vr_of(tag)})

    return read


def _modality(said: _Said) -> str:
    told = said(Tag("Modality")) or {}
    return "\\".join(str(each) for each in told.get("Value", ()) if each)


def series_json(
    house: House, study: str, items: Sequence[Kept], base: str, fields: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the series of some instances of a study that have a legible one."""
    read = headers(house, items, fields)
    by_series: dict[str, list[Kept]] = {}
    for item in items:
        by_series.setdefault(item.series_instance_uid, []).append(item)
    for uid, members in by_series.items():
        more = {
            "RetrieveURL": f"{base}/studies/{study}/series/{uid}",
            "NumberOfSeriesRelatedInstances": len(members),
            "StudyInstanceUID": study,
        }
        try:
            first = next(legible(house, members, read))
        except (ImageError, SpoolError):
            continue
        yield _picked(house, *first, (*SERIES, *fields), more)


def address_of(base: str, study: str, series: str, instance: str) -> str:
    """Return where an instance is retrieved."""
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


def instances_json(
    house: House, study: str, items: Sequence[Kept], base: str, fields: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield some instances of a study for QIDO-RS, those that are legible.

    Raises the `ImageError` or `SpoolError` of the last one where none is.
    """
    read = headers(house, items, fields)

    def told(house: House, item: Kept) -> dict[str, Any]:
        more = {
            "RetrieveURL": address_of(base, study, item.series_instance_uid, item.sop_instance_uid),
            "InstanceAvailability": "ONLINE",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": item.series_instance_uid,
        }
        return _picked(house, *read(house, item), (*INSTANCE, *fields), more)

    return legible(house, items, told)


def as_sent(house: House, item: Kept, *, any_syntax: bool) -> tuple[str, bytes]:
    """Return an instance's Transfer Syntax UID and Part 10 bytes.

    Explicit VR Little Endian unless the client takes any (PS3.18 8.7.3.5.2). Raises `ImageError`
    where the film cannot be decoded or written, and `SpoolError`.
    """
    data = house.spool.read(item.digest)
    dataset = read_dataset(data)
    syntax = transfer_syntax_of(dataset)
    if any_syntax or UID(syntax) == ExplicitVRLittleEndian:
        return syntax, data
    if UID(syntax) not in _NATIVE and "PixelData" in dataset:
        pixels = decode(dataset, max_megapixels=house.settings.admission.max_megapixels)
        dataset.PixelData = little_endian(pixels)
        dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    with parsing():
        pydicom.dcmwrite(
            buffer, dataset, enforce_file_format=True, implicit_vr=False, little_endian=True
        )
    return str(ExplicitVRLittleEndian), buffer.getvalue()
