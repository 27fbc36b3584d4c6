"""A role's sign of life, at most once a second: each one is a durable commit."""

from __future__ import annotations

import time

from dicom_node.ledger import Ledger

_SECONDS = 1.0


class Heart:
    """Beats for one role of this process."""

    def __init__(self, ledger: Ledger, role: str) -> None:
        self._ledger, self._role = ledger, role
        self._last: tuple[float, str, str | None] | None = None

    def beat(self, state: str, detail: str | None = None) -> None:
        """Note the state; the same state again is written once a second only."""
        now = time.monotonic()
        if self._last and self._last[1:] == (state, detail) and now - self._last[0] < _SECONDS:
            return
        self._ledger.beat(self._role, state, detail)
        self._last = (now, state, detail)
