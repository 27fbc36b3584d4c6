"""What a data set says it is, read without its pixels, and whether the command agrees.

pynetdicom checks none of this (faults 27 to 30, 32).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from dicom_node.errors import (
    DataSetMismatch,
    DataSetUnreadable,
    IdentifierMissing,
    SopInstanceUidInvalid,
)
from dicom_node.imaging.values import CAN_RAISE

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", re.ASCII)
_MAX_UID_LENGTH = 64
_MAX_READS = 100_000
"""Each element costs pydicom two reads or so; what precedes the identifiers has some hundred."""
_LAST = Tag("SeriesInstanceUID")
_WANTED: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
]


@dataclass(frozen=True, slots=True)
class Identity:
    """The identifiers of a received data set; every UID keeps to PS3.5 section 9.1."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


def is_uid(text: str) -> bool:
    """Whether ``text`` is a UID as PS3.5 section 9.1 has it."""
    return len(text) <= _MAX_UID_LENGTH and _UID.fullmatch(text) is not None


def check_command(affected_sop_instance_uid: str) -> None:
    """Raise `SopInstanceUidInvalid` unless the command's Affected SOP Instance UID is one."""
    if not is_uid(affected_sop_instance_uid):
        raise SopInstanceUidInvalid("The Affected SOP Instance UID is not a valid UID.")


class _PatientFile(BytesIO):
    """Bytes that may be read so many times only: millions of tiny elements must not take hours."""

    reads_left = _MAX_READS

    def read(self, size: int | None = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise DataSetUnreadable("The data set has too many elements before its identifiers.")
        return super().read(size)


def identify(data: bytes, transfer_syntax_uid: str) -> Identity:
    """Return the identifiers of an encoded data set.

    Raises `DataSetUnreadable` and `IdentifierMissing`.
    """
    with warnings.catch_warnings():
        # pydicom warns about values as it reads them, some only when they are asked for.
        warnings.simplefilter("ignore")
        dataset = _read(data, UID(transfer_syntax_uid))
        sop_class, instance = _text(dataset, "SOPClassUID"), _text(dataset, "SOPInstanceUID")
        study, series = _text(dataset, "StudyInstanceUID"), _text(dataset, "SeriesInstanceUID")
    if not sop_class or not instance:
        raise DataSetUnreadable("The data set has no SOP Class UID or no SOP Instance UID.")
    if not is_uid(study) or not is_uid(series):
        raise IdentifierMissing("The data set has no valid Study and Series Instance UID.")
    return Identity(sop_class, instance, study, series)


def check_agreement(
    identity: Identity,
    *,
    affected_sop_class_uid: str,
    affected_sop_instance_uid: str,
    abstract_syntax: str,
) -> None:
    """Raise `DataSetMismatch` unless command, data set and presentation context name the same."""
    if affected_sop_class_uid != abstract_syntax:
        raise DataSetMismatch("The command's SOP class is not the presentation context's.")
    if identity.sop_class_uid != affected_sop_class_uid:
        raise DataSetMismatch("The data set's SOP class is not the command's.")
    if identity.sop_instance_uid != affected_sop_instance_uid:
        raise DataSetMismatch("The data set's SOP Instance UID is not the command's.")


def _read(data: bytes, transfer_syntax: UID) -> Dataset:
    try:
        return read_dataset(
            _PatientFile(data),
            transfer_syntax.is_implicit_VR,
            transfer_syntax.is_little_endian,
            stop_when=_past_identifiers,
            specific_tags=_WANTED,
        )
    except CAN_RAISE as error:
        raise DataSetUnreadable("The data set cannot be parsed.") from error


def _past_identifiers(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _LAST)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "")
    except CAN_RAISE as error:
        raise DataSetUnreadable(f"The attribute {keyword} cannot be read.") from error
