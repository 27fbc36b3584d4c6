"""What a data set says it is, read without its pixels, and whether what is said of it agrees.

No library checks any of this (faults 27 to 30, 32).
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from dicom_node.errors import (
    DataSetMismatch,
    DataSetUnreadable,
    IdentifierInvalid,
    IdentifierMissing,
    SopInstanceUidInvalid,
)
from dicom_node.imaging.bounded import MOST_READS, BoundedFile, ReadBudget
from dicom_node.imaging.explicit_vr import follow
from dicom_node.imaging.values import CAN_RAISE
from dicom_node.settings.model import UidRule

_UIDS = {
    "strict": re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", re.ASCII),
    "lenient": re.compile(r"\d+(\.\d+)+", re.ASCII),
}
"""What `admission.uids` lets in: PS3.5 section 9.1 to the letter, or also leading zeros."""

_MAX_UID_LENGTH = 64
_FIRST_READS = 20_000
"""So long the data set is read as it is: an odd element may have led the parser astray."""
_MAX_BYTES = 1 << 23
"""What is read, not skipped, of what precedes them: elements of sequences, mostly."""
_TOO_MUCH = {
    "elements": "The data set has too many elements before its identifiers.",
    "bytes": "The data set has too much before its identifiers.",
}
_PARSING = BoundedSemaphore(2)
"""So many data sets are parsed at one time: each may take ten times `_MAX_BYTES` of memory."""
_LAST = Tag("SeriesInstanceUID")
_WANTED: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
]


@dataclass(frozen=True, slots=True)
class StatedIdentifiers:
    """The identifiers that a data set states; `check_uids` tells whether they are UIDs."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str


def is_uid(text: str, rule: UidRule = "strict") -> bool:
    """Whether ``text`` is a UID: as PS3.5 section 9.1 has it, or as `admission.uids` forgives."""
    return len(text) <= _MAX_UID_LENGTH and _UIDS[rule].fullmatch(text) is not None


def check_command(affected_sop_instance_uid: str, rule: UidRule = "strict") -> None:
    """Raise `SopInstanceUidInvalid` unless the command's Affected SOP Instance UID is one."""
    if not is_uid(affected_sop_instance_uid, rule):
        raise SopInstanceUidInvalid(_why("Affected SOP Instance UID", affected_sop_instance_uid))


def check_uids(identity: StatedIdentifiers, rule: UidRule = "strict") -> None:
    """Raise `SopInstanceUidInvalid`, `IdentifierMissing` or `IdentifierInvalid` with the reason."""
    if not is_uid(identity.sop_instance_uid, rule):
        raise SopInstanceUidInvalid(_why("SOP Instance UID", identity.sop_instance_uid))
    for name, uid in (
        ("Study Instance UID", identity.study_instance_uid),
        ("Series Instance UID", identity.series_instance_uid),
    ):
        if not uid:
            raise IdentifierMissing(f"The data set has no {name}.")
        if not is_uid(uid, rule):
            raise IdentifierInvalid(_why(name, uid))


def _why(name: str, uid: str) -> str:
    """Tell what is wrong with a UID; it is shown only where it can be nothing else (S7)."""
    if len(uid) > _MAX_UID_LENGTH:
        return f"The {name} has {len(uid)} characters, more than {_MAX_UID_LENGTH}."
    if is_uid(uid, "lenient"):
        return f"The {name} {uid} is no UID as PS3.5 has it: a component begins with 0."
    if not uid:
        return f"The {name} is empty."
    if set(uid) <= set("0123456789."):
        return f"The {name} is no UID: it has an empty component, or one only."
    return f"The {name} is no UID: it holds other characters than digits and dots."


def identify(data: bytes | BinaryIO, transfer_syntax_uid: str) -> StatedIdentifiers:
    """Return the identifiers that an encoded data set states, which a file stands before.

    Raises `DataSetUnreadable`.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with _PARSING, warnings.catch_warnings():
        # pydicom warns about values as it reads them, some only when they are asked for.
        warnings.simplefilter("ignore")
        dataset = _read(file, UID(transfer_syntax_uid))
        sop_class, instance = _text(dataset, "SOPClassUID"), _text(dataset, "SOPInstanceUID")
        study, series = _text(dataset, "StudyInstanceUID"), _text(dataset, "SeriesInstanceUID")
    if not sop_class or not instance:
        raise DataSetUnreadable("The data set has no SOP Class UID or no SOP Instance UID.")
    return StatedIdentifiers(sop_class, instance, study, series)


def check_agreement(
    identity: StatedIdentifiers,
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


def _read(file: BinaryIO, transfer_syntax: UID) -> Dataset:
    """Return the identifiers' data set; read once more, mended, where it hides one of them."""
    if transfer_syntax.is_implicit_VR:
        return _parsed(file, transfer_syntax, MOST_READS)
    start = file.tell()
    with suppress(DataSetUnreadable):
        dataset = _parsed(file, transfer_syntax, _FIRST_READS)
        if all(tag in dataset for tag in _WANTED):
            return dataset
    file.seek(start)
    little_endian = transfer_syntax.is_little_endian
    head = follow(file.read(_MAX_BYTES), little_endian=little_endian, last=int(_LAST))
    return _parsed(io.BytesIO(head.data), transfer_syntax, MOST_READS)


def _parsed(file: BinaryIO, transfer_syntax: UID, reads: int) -> Dataset:
    budget = ReadBudget(reads, _MAX_BYTES)
    try:
        dataset = read_dataset(
            cast("BinaryIO", BoundedFile(file, budget)),
            transfer_syntax.is_implicit_VR,
            transfer_syntax.is_little_endian,
            stop_when=_past_identifiers,
            specific_tags=_WANTED,
        )
    except CAN_RAISE as error:
        if budget.spent:
            raise DataSetUnreadable(_TOO_MUCH[budget.spent]) from error
        raise DataSetUnreadable("The data set cannot be parsed.") from error
    if budget.spent:
        raise DataSetUnreadable(_TOO_MUCH[budget.spent])
    return dataset


def _past_identifiers(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag > _LAST)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "")
    except CAN_RAISE as error:
        raise DataSetUnreadable(f"The attribute {keyword} cannot be read.") from error
