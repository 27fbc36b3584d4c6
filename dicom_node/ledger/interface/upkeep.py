"""The ledger as housekeeping sees it: an end for everything that only grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from dicom_node.ledger.interface.films import KnownFilms
from dicom_node.records import Delivery, Digest, Study, StudyId

ANNOUNCED_DAYS = 7
"""So long before what is old goes, log and pages say that it will."""

COUNTED = 10_000
"""No more of what will go is counted."""


class Upkeep(KnownFilms, Protocol):
    """What has had its time."""

    def expire_deliveries(self) -> Sequence[Delivery]:
        """Move to `expired` what was not delivered in time."""

    def removable(self, keep_days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that whose deliveries are all sent, oldest first."""

    def parked(self, days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that of which nothing goes by itself any more."""

    def forget(self, study_id: StudyId, *, parked: bool = False) -> Sequence[Digest]:
        """Remove a study's rows and return the digests that no other row names.

        A study that is not, or no longer, `removable` (or `parked`, where told so) is left alone.
        """

    def stored_bytes(self) -> int:
        """Return the sizes of all received films and of all results together."""

    def digests_of_shard(self, prefix: str) -> frozenset[Digest]:
        """Return the digests of spooled files that rows name and that begin with ``prefix``."""


class Forgetting(Protocol):
    """What grows beside the studies, and goes by its age alone."""

    def forget_refusals(self, days: float) -> int:
        """Forget refused callers who have not called for so long; return how many there were."""

    def forget_sessions(self, idle: timedelta, longest: timedelta) -> int:
        """Forget sessions that have run out and whose browser never came back."""

    def forget_events(self, days: float) -> int:
        """Forget events older than that of studies that are forgotten; return how many."""

    def forget_audit(self, days: float) -> int:
        """Forget lines of the audit trail older than that; return how many."""

    def audit_lines_older(self, days: float, most: int) -> int:
        """Count lines of the audit trail that are older than that, up to ``most``."""

    def forget_peers(self, days: float, known: Iterable[str]) -> int:
        """Forget AEs that are not ``known`` and were silent for so long; return how many."""
