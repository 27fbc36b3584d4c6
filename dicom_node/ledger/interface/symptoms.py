"""The ledger as somebody sees it who looks for what is wrong: numbers and ages, never whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dicom_node.records import PeerContact


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits: ``where`` it does, since when the first of it, and how many (0: not counted)."""

    where: str
    since: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """How often something happened lately, and when last."""

    what: str
    number: int
    last_at: datetime


class Symptoms(Protocol):
    """What tells whether a node is well."""

    def moment(self) -> datetime:
        """Return the present time, with which the ledger's own times agree."""

    def waiting(self) -> Sequence[Waiting]:
        """Return the films, studies and deliveries (by destination) that have waited longest."""

    def lately(self, days: float) -> Sequence[Happened]:
        """Return what the events of the last days tell, by their name."""

    def last_noted(self, what: str) -> datetime | None:
        """Return when the audit trail had such a line last; None: not that anybody remembers."""

    def people_by_role(self) -> Mapping[str, int]:
        """Return how many may sign in, by role."""

    def rejected(self) -> tuple[int, datetime | None]:
        """Return how many calls were rejected, and when the last."""

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state, as ``instances.received`` and so on."""

    def peers(self) -> Sequence[PeerContact]:
        """Return what is known of each AE that ever sent or received."""
