"""Long work shows that it goes on: a sign of life, and its leases last again."""

from __future__ import annotations

import time

from dicom_node.ledger import Workers
from dicom_node.line.heart import Heart
from dicom_node.patience import Patience

_RENEWALS = 4


class Pulse:
    """Called between two films, or objects, of long work."""

    def __init__(
        self, ledger: Workers, worker: str, heart: Heart, patience: Patience, lease_seconds: float
    ) -> None:
        self._ledger, self._worker, self._heart = ledger, worker, heart
        self._patience, self._lease_seconds = patience, lease_seconds
        self._renewed = time.monotonic()

    def __call__(self) -> None:
        """Beat, and keep the leases where a good part of them is over."""
        self._heart.beat_again()
        now = time.monotonic()
        if now - self._renewed > self._lease_seconds / _RENEWALS:
            self._renewed = now
            self._patience.attempt("keeping leases", self._renew)

    def _renew(self) -> None:
        self._ledger.renewed(self._worker, self._lease_seconds)
