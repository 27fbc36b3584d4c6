"""Tables of what is negotiated and answered, from what the doors of the node really use."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.uid import UID

from dicom_node.dimse.contexts import (
    COMPRESSIBLE_SOP_CLASSES,
    PROPOSED_TRANSFER_SYNTAXES,
    RESULT_SOP_CLASSES,
)
from dicom_node.dimse.status import STATUS_OF_ERROR, SUCCESS, outcome_of
from dicom_node.imaging.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from dicom_node.settings.model import COMPRESSION_UIDS

_VERIFICATION = UID("1.2.840.10008.1.1")
_SHOWN = (
    0x0000, 0x0001, 0x0107, 0x0110, 0x0111, 0x0116, 0x0117, 0x0122, 0x0124, 0xA700, 0xA800, 0xA900,
    0xB000, 0xB006, 0xB007, 0xC000,
)  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def overview(stored: Sequence[str]) -> str:
    """Return the SOP classes with their roles; ``stored``: the UIDs of those that may be stored."""
    classes = dict.fromkeys((_VERIFICATION, *map(UID, stored), *RESULT_SOP_CLASSES))
    rows = [(UID(uid).name, str(uid), _yes(uid in (_VERIFICATION, *RESULT_SOP_CLASSES)),
             _yes(uid in (_VERIFICATION, *stored))) for uid in classes]  # fmt: skip
    return table(("SOP class", "UID", "SCU", "SCP"), rows)


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def accepted(stored: Sequence[str]) -> str:
    """Return the presentation contexts that are accepted; ``stored`` as for `overview`."""
    rows = [(UID(uid).name, str(uid), "all of the table below") for uid in stored]
    plain = ", ".join(UID(syntax).name for syntax in PROPOSED_TRANSFER_SYNTAXES)
    rows.append((_VERIFICATION.name, str(_VERIFICATION), plain))
    return table(("abstract syntax", "UID", "transfer syntaxes"), rows)


def transfer_syntaxes() -> str:
    """Return the transfer syntaxes of received films, the most wanted first."""
    rows = [(UID(uid).name, uid) for uid in SUPPORTED_TRANSFER_SYNTAXES]
    return table(("transfer syntax", "UID"), rows)


def proposed() -> str:
    """Return the presentation contexts that are proposed for results."""
    syntaxes = "; ".join(f"{UID(uid).name} ({uid})" for uid in PROPOSED_TRANSFER_SYNTAXES)
    ways = ", ".join(f"{UID(uid).name} ({uid})" for uid in COMPRESSION_UIDS.values())
    first = f"with `capture_compression` one of: {ways}; then "
    rows = [
        (UID(uid).name, str(uid), f"{first if uid in COMPRESSIBLE_SOP_CLASSES else ''}{syntaxes}")
        for uid in RESULT_SOP_CLASSES
    ]
    return table(("abstract syntax", "UID", "transfer syntaxes, one context each"), rows)


def answered() -> str:
    """Return the C-STORE statuses that the node answers, and why."""
    rows = [(f"0x{SUCCESS:04X}", "Success", "the instance is on disk, synced, and in the ledger")]
    for error, status in STATUS_OF_ERROR.items():
        said = " ".join((error.__doc__ or "").partition("\n")[0].split())
        rows.append((f"0x{status:04X}", error.__name__, said))
    return table(("status", "error", "when"), sorted(rows))


def understood() -> str:
    """Return what the node does on each C-STORE status of a receiver of results."""
    told = {
        "stored": "done",
        "stored with warning": "done, the warning is recorded",
        "already there": "done",
        "try again": "tried again with growing pauses until `delivery.keep_hours`",
        "try slowly": "tried again at the longest pause: only a person can mend it",
        "refused": "tried three times, then parked until a person asks again",
    }
    rows = [(f"0x{status:04X}", str(outcome_of(status)), told[str(outcome_of(status))])
            for status in _SHOWN]  # fmt: skip
    return table(("status", "means", "then"), rows)
