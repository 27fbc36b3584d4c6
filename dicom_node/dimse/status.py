"""DIMSE statuses: which of our errors is answered with which, and what a peer's status means.

PS3.7 annex C and PS3.4 B.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from dicom_node.errors import (
    DataSetMismatch,
    DataSetUnreadable,
    DiskFull,
    IdentifierInvalid,
    IdentifierMissing,
    InstanceTooLarge,
    LedgerUnavailable,
    SopClassNotAccepted,
    SopInstanceUidInvalid,
    SpoolUnwritable,
    StoreError,
    TransferSyntaxNotAccepted,
    Unavailable,
)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_SOP_INSTANCE = 0x0117
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122

STATUS_OF_ERROR: Mapping[type[StoreError | Unavailable], int] = {
    SopInstanceUidInvalid: INVALID_SOP_INSTANCE,
    DataSetMismatch: DATA_SET_DOES_NOT_MATCH,
    DataSetUnreadable: CANNOT_UNDERSTAND,
    IdentifierMissing: CANNOT_UNDERSTAND,
    IdentifierInvalid: CANNOT_UNDERSTAND,
    SopClassNotAccepted: SOP_CLASS_NOT_SUPPORTED,
    TransferSyntaxNotAccepted: TRANSFER_SYNTAX_NOT_SUPPORTED,
    InstanceTooLarge: OUT_OF_RESOURCES,
    DiskFull: OUT_OF_RESOURCES,
    SpoolUnwritable: OUT_OF_RESOURCES,
    LedgerUnavailable: OUT_OF_RESOURCES,
}


def status_of(error: StoreError | Unavailable) -> int:
    """Return the status with which an instance is refused; what is not listed ails the house."""
    return STATUS_OF_ERROR.get(type(error), OUT_OF_RESOURCES)


class StoreOutcome(StrEnum):
    """What a peer's C-STORE status means for us."""

    STORED = "stored"
    STORED_WITH_WARNING = "stored with warning"
    ALREADY_THERE = "already there"
    TRY_AGAIN = "try again"
    TRY_SLOWLY = "try slowly"
    REFUSED = "refused"


_OUTCOMES: Mapping[int, StoreOutcome] = {
    SUCCESS: StoreOutcome.STORED,
    0x0001: StoreOutcome.STORED_WITH_WARNING,
    0x0107: StoreOutcome.STORED_WITH_WARNING,
    0x0116: StoreOutcome.STORED_WITH_WARNING,
    0x0111: StoreOutcome.ALREADY_THERE,
    PROCESSING_FAILURE: StoreOutcome.TRY_AGAIN,
    0x0124: StoreOutcome.TRY_SLOWLY,
    INVALID_SOP_INSTANCE: StoreOutcome.REFUSED,
    SOP_CLASS_NOT_SUPPORTED: StoreOutcome.REFUSED,
}


def outcome_of(status: int) -> StoreOutcome:
    """Return what the C-STORE ``status`` of a peer means (PS3.4 table B.2-1, PS3.7 annex C)."""
    if status in _OUTCOMES:
        return _OUTCOMES[status]
    # All of Bxxx are warnings, not only the three that PS3.4 names: the peer has the object.
    if 0xB000 <= status <= 0xBFFF:
        return StoreOutcome.STORED_WITH_WARNING
    if 0xA700 <= status <= 0xA7FF:
        return StoreOutcome.TRY_AGAIN
    if 0xA800 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF:
        return StoreOutcome.REFUSED
    return StoreOutcome.TRY_AGAIN
