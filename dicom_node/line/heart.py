"""A role's sign of life, at most once a second: each one is a durable commit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dicom_node.ledger import Workers
from dicom_node.patience import Patience
from dicom_node.records import Worker

_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Said:
    """What the last sign of life said, and when by the monotonic clock."""

    at: float
    state: str
    detail: str | None


class Heart:
    """Beats for one worker. A ledger that takes no beat ends nobody."""

    def __init__(self, ledger: Workers, worker: Worker, patience: Patience) -> None:
        self._ledger, self._worker, self._patience = ledger, worker, patience
        self._last: _Said | None = None

    def beat(self, state: str, detail: str | None = None) -> None:
        """Note the state; the same state again is written once a second only."""
        now = time.monotonic()
        last = self._last
        if last and (last.state, last.detail) == (state, detail) and now - last.at < _SECONDS:
            return
        self._last = _Said(now, state, detail)
        self._patience.attempt(
            "a sign of life",
            lambda: self._ledger.beat(self._worker, state, detail),
            longest=_SECONDS,
        )

    def beat_again(self) -> None:
        """Note that what was said last is so still."""
        if self._last is not None:
            self.beat(self._last.state, self._last.detail)
