"""Rejected associations on their way to the ledger: gathered, and written once a second at most.

A scanner that calls a thousand times a second must not compete with films for the ledger's commits.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import Arrivals
from dicom_node.logs import Log
from dicom_node.records import OTHER_CALLERS, Refusal

_SECONDS = 1.0
_MOST_CALLERS = 500
"""So many are told apart in one second; the others are counted together."""


class GatheredRefusals:
    """Counts rejected associations in memory; a thread of its own writes them."""

    def __init__(self, ledger: Arrivals, log: Log, *, seconds: float = _SECONDS) -> None:
        self._ledger, self._log, self._seconds = ledger, log, seconds
        self._callers: dict[tuple[str, ...], Refusal] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, daemon=True)
        self._thread.start()

    def add(self, refusal: Refusal) -> None:
        """Count one that was rejected now."""
        with self._lock:
            key = _key(refusal)
            if key not in self._callers and len(self._callers) >= _MOST_CALLERS:
                refusal = replace(_OTHERS, last_at=refusal.last_at)
                key = _key(refusal)
            earlier = self._callers.get(key)
            count = 1 if earlier is None else earlier.count + 1
            self._callers[key] = replace(refusal, count=count)

    def write(self) -> None:
        """Write what was gathered; what cannot be written now waits for the next time."""
        with self._lock:
            gathered, self._callers = list(self._callers.values()), {}
        if not gathered:
            return
        try:
            self._ledger.refused_all(gathered)
        except LedgerUnavailable as error:
            self._take_back(gathered)
            with suppress(OSError):
                self._log.event("role.error", reason=error.message, remedy=error.remedy)

    def stop(self) -> None:
        """Write what is left and end."""
        self._stop.set()
        self._thread.join()
        self.write()

    def _take_back(self, gathered: Sequence[Refusal]) -> None:
        with self._lock:
            for each in gathered:
                later = self._callers.get(_key(each))
                count = each.count + (later.count if later else 0)
                self._callers[_key(each)] = replace(later or each, count=count)

    def _keep_writing(self) -> None:
        while not self._stop.wait(self._seconds):
            self.write()


_OTHERS = Refusal("", "", "", OTHER_CALLERS, 1, datetime.min)


def _key(refusal: Refusal) -> tuple[str, ...]:
    return (
        refusal.calling_ae_title,
        refusal.called_ae_title,
        refusal.peer_address,
        refusal.reason,
    )
