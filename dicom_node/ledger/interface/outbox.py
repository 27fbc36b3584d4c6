"""The ledger as the sender sees it: the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from dicom_node.records import Delivery, DeliveryId, ResultObject


class Outbox(Protocol):
    """Claims of deliveries, and what became of them."""

    def claim_deliveries(
        self, worker: str, lease_seconds: float, limit: int, busy: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take due deliveries of *one* destination and study (not in ``busy``), oldest first.

        A power cut may take a claim back, not what was pinned or sent since.
        """

    def returned(self, delivery_ids: Sequence[DeliveryId], worker: str) -> None:
        """Give back what ``worker`` still holds of these, as if it had not been claimed.

        A power cut may take that back; the leases then end by themselves.
        """

    def pin(self, delivery_id: DeliveryId, worker: str, sop_instance_uid: str) -> None:
        """Note which alternative is being sent, before its first byte leaves."""

    def sent(self, delivery_id: DeliveryId, worker: str, status: int) -> None:
        """Move to `sent`; ``status`` is the C-STORE status (0x0000 or a warning)."""

    def postponed(
        self,
        delivery_id: DeliveryId,
        worker: str,
        next_attempt_at: datetime,
        reason: str,
        status: int | None = None,
    ) -> None:
        """Keep `waiting` with a later attempt."""

    def delivery_refused(
        self, delivery_id: DeliveryId, worker: str, reason: str, status: int | None = None
    ) -> None:
        """Move to `refused`: trying again by itself would not help."""

    def delivery_not_accepted(self, delivery_id: DeliveryId, worker: str, reason: str) -> None:
        """Move to `refused` an object whose SOP class the AE does not accept: no error."""

    def negotiated(
        self, ae_title: str, accepted: Sequence[str], not_accepted: Sequence[str]
    ) -> None:
        """Remember of each SOP class of results whether an AE accepted it when last asked."""

    def recipe(self, group: str) -> bytes | None:
        """Return the recipe of a report; None for what is sent in one SOP class only."""

    def frozen_again(self, item: ResultObject) -> None:
        """Freeze a report in one more SOP class, beside the one that it was made from."""
