"""The ledger as the supervisor, health and each worker see it: who works, and who died at it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from dicom_node.records import Alarm, Worker, WorkerBeat


class Workers(Protocol):
    """Signs of life, and the leases of the living and the dead."""

    def version(self) -> tuple[int, int]:
        """Return what differs as soon as anything in the ledger has changed: there may be work."""

    def begun(self, workers: Sequence[Worker]) -> int:
        """Note who starts now, and end the leases of all whom nobody knows; return how many.

        Whoever had these roles before is dead: the caller holds their locks.
        """

    def beat(self, worker: Worker, state: str, detail: str | None = None) -> None:
        """Note that this process is ``worker``; a power cut may take it back."""

    def beats(self) -> Sequence[WorkerBeat]:
        """Return the last sign of life of each worker."""

    def renewed(self, worker: str, lease_seconds: float) -> None:
        """Let every lease of ``worker`` last so long from now: it lives and is at work.

        A power cut may take it back; nobody is at work then.
        """

    def release(self, worker: str) -> None:
        """Give back every lease of ``worker`` without counting the attempt: an orderly stop.

        A power cut may take it back; the leases then end by themselves.
        """

    def orphaned(self, worker: str, role: str = "") -> int:
        """End the leases of a worker that is known to be dead; their attempts stay counted.

        ``role``: what it worked as, where its death is to be counted.
        """

    def alarms_up(self) -> Sequence[Alarm]:
        """Return the alarms that have not ended, the oldest first."""

    def counts(self) -> dict[str, int]:
        """Return how many rows are in each state, as ``instances.received`` and so on."""

    def moment(self) -> datetime:
        """Return the present time, with which the ledger's own times agree."""
