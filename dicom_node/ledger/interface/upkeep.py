"""The ledger as housekeeping sees it: an end for everything that only grows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from dicom_node.ledger.interface.films import KnownFilms
from dicom_node.records import Delivery, Digest, Study, StudyId


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

    def digests_of_shard(self, prefix: str) -> frozenset[Digest]:
        """Return the digests of spooled files that rows name and that begin with ``prefix``."""

    def forget_refusals(self, days: float) -> int:
        """Forget refused callers who have not called for so long; return how many there were."""

    def forget_sessions(self, idle: timedelta, longest: timedelta) -> int:
        """Forget sessions that have run out and whose browser never came back."""

    def forget_events(self, days: float) -> int:
        """Forget events older than that of studies that are forgotten; return how many."""
