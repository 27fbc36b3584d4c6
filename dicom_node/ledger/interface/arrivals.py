"""The ledger as the doors see it: what arrives, and who was turned away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dicom_node.records import Arrival, InstanceId, Refusal


@dataclass(frozen=True, slots=True)
class Received:
    """What `Arrivals.received` did: a new row, the same bytes again, or a conflict.

    ``conflict``: the SOP Instance UID was known with other bytes. Both are kept.
    """

    instance_id: InstanceId
    duplicate: bool
    conflict: bool


class Arrivals(Protocol):
    """Instances that came, associations that were rejected."""

    def received(self, arrival: Arrival) -> Received:
        """Add the instance (or count a duplicate, note its sender) and open its study again."""

    def refused_all(self, refusals: Sequence[Refusal]) -> None:
        """Count associations that were rejected, in one transaction.

        The latest callers are kept, the others are counted in one row.
        """
