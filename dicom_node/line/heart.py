"""A role's sign of life, at most once a second: each one is a durable commit."""

from __future__ import annotations

import time

from dicom_node.ledger import Workers
from dicom_node.patience import Patience
from dicom_node.records import Worker

_SECONDS = 1.0


class Heart:
    """Beats for one worker. A ledger that takes no beat ends nobody."""

    def __init__(self, ledger: Workers, worker: Worker, patience: Patience) -> None:
        self._ledger, self._worker, self._patience = ledger, worker, patience
        self._last: tuple[float, str, str | None] | None = None

    def beat(self, state: str, detail: str | None = None) -> None:
        """Note the state; the same state again is written once a second only."""
        now = time.monotonic()
        if self._last and self._last[1:] == (state, detail) and now - self._last[0] < _SECONDS:
            return
        self._last = (now, state, detail)
        self._patience.attempt(
            "a sign of life",
            lambda: self._ledger.beat(self._worker, state, detail),
            longest=_SECONDS,
        )

    def beat_again(self) -> None:
        """Note that what was said last is so still."""
        if self._last is not None:
            self.beat(*self._last[1:])
