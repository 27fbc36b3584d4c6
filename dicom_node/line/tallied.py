"""What a role says that only it knows (associations, refusals), counted into the ledger.

Roles are many processes and die: what is counted in one of them alone would begin anew with it. So
what a log tells is gathered for a second and added to the ledger's totals. A kill loses a second.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping

from dicom_node.errors import Unavailable
from dicom_node.ledger import Counting
from dicom_node.logs import Log
from dicom_node.records import UNKNOWN_CALLER

ASSOCIATIONS_OPEN = "associations.open"

_STATUS = re.compile(r"0x[0-9A-F]{4}")
_COUNTED = frozenset(
    {
        "association.accepted", "association.rejected", "association.limit",
        "association.dropped", "association.lost", "tls.handshake_failed", "echo.answered",
        "instance.refused", "instance.conflict",
    }
)  # fmt: skip
REJECTIONS: Mapping[str, str] = {
    "called AE title": "called-ae-title",
    UNKNOWN_CALLER: "calling-ae-title",
    "upper and lower case": "letter-case",
    "may not call from": "address",
    "with this certificate": "certificate",
    "may not send": "may-not-send",
    "application context": "application-context",
}
"""What a reason says, and how it is counted: of few, whatever strangers call."""

OTHER_REASON = "other"


class TalliedLog(Log):
    """A log that counts some of what it says. Safe for several threads."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self._lock = threading.Lock()
        self._counts = Counter[tuple[str, str]]()
        self._levels: dict[str, int] = {}

    def event(self, name: str, **fields: object) -> None:
        """Log an event, and count it if it is one of those."""
        if name in _COUNTED:
            with self._lock:
                self._counts[name, _subject(name, fields)] += 1
        super().event(name, **fields)

    def write(self, ledger: Counting, levels: Mapping[str, Callable[[], int]]) -> None:
        """Add what was counted to the ledger's totals; what it does not take waits.

        ``levels``: what goes up and down, asked now. Raises `LedgerUnavailable`.
        """
        now = {name: ask() for name, ask in levels.items()}
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts and now == self._levels:
            return
        try:
            ledger.add_totals(counts, now)
        except Unavailable:
            with self._lock:
                self._counts += counts
            raise
        self._levels = now


def _subject(name: str, fields: Mapping[str, object]) -> str:
    if name == "association.rejected":
        reason = str(fields.get("reason", ""))
        return next((kind for said, kind in REJECTIONS.items() if said in reason), OTHER_REASON)
    if name == "instance.refused":
        status = str(fields.get("status", ""))
        return status if _STATUS.fullmatch(status) else OTHER_REASON
    return ""
