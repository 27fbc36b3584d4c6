"""The ledger as people see it who look after what is sent, and the AEs at the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dicom_node.ledger.outbox import OutboxQuery, OutboxRow
from dicom_node.records import (
    Delivery,
    DeliveryId,
    DeliveryState,
    PeerContact,
    Refusal,
    Study,
    StudyId,
)


class Deliveries(Protocol):
    """The outbox, searched and steered by hand."""

    def outbox(self, query: OutboxQuery) -> tuple[tuple[OutboxRow, ...], int]:
        """Return what is asked for, newest first, and how many there are without the limit."""

    def delivery(self, delivery_id: DeliveryId) -> Delivery:
        """Return one delivery."""

    def deliveries(
        self,
        *,
        study_id: StudyId | None = None,
        state: DeliveryState | None = None,
        limit: int | None = None,
    ) -> Sequence[Delivery]:
        """Return deliveries, newest first, ``limit`` at most."""

    def parked(self, days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that of which nothing goes by itself any more."""

    def resend(self, delivery_id: DeliveryId, who: str, keep_hours: float) -> None:
        """Move a refused, expired or sent delivery back to `waiting`, due now.

        Raises `TransitionRefused` for what is kept in shadow.
        """

    def approve(self, study_id: StudyId, who: str, keep_hours: float) -> int:
        """Make due everything of a study that waits for approval; return how many."""

    def drop(self, delivery_id: DeliveryId, who: str) -> None:
        """Give a waiting delivery up (it becomes `expired`, with who did it)."""


class Neighbours(Protocol):
    """The AEs that called or were called, welcome or not."""

    def senders(self) -> Sequence[str]:
        """Return every AE title that a case came from."""

    def peers(self) -> Sequence[PeerContact]:
        """Return what is known of each AE that ever sent or received."""

    def refusals(self) -> Sequence[Refusal]:
        """Return who was rejected, latest first."""

    def dismiss_refusals(
        self,
        calling_ae_title: str | None = None,
        called_ae_title: str | None = None,
        peer_address: str | None = None,
        reason: str | None = None,
    ) -> int:
        """Forget refusals that have been seen, all that match; return how many there were."""
