"""The ledger as the supervisor and health see it: who works, and who died at it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from dicom_node.ledger.connection import Connection
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import beat_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import OF_A_WORKER, OF_NOBODY_KNOWN, give_back, orphan, renew
from dicom_node.ledger.watching import note_death
from dicom_node.records import Worker, WorkerBeat

_SQL = statements("workers")


class Supervising(Part):
    """Signs of life, and the leases of the living and the dead."""

    def version(self) -> tuple[int, int]:
        """Return what differs as soon as anything in the ledger has changed: there may be work."""
        return self._connection.version()

    def beat(self, worker: Worker, state: str, detail: str | None = None) -> None:
        """Note that this process is ``worker``; a power cut may take it back."""
        with self._connection.transaction(durable=False) as connection:
            _note(connection, worker, state, detail)

    def beats(self) -> Sequence[WorkerBeat]:
        """Return the last sign of life of each worker."""
        rows = self._connection.all(_SQL["signs_of_life"])
        return [beat_of(row) for row in rows]

    def release(self, worker: str) -> None:
        """Give back every lease of ``worker`` without counting the attempt: an orderly stop."""
        with self._connection.transaction(durable=False) as connection:
            give_back(connection, worker)

    def renewed(self, worker: str, lease_seconds: float) -> None:
        """Let every lease of ``worker`` last so long from now: it lives and is at work."""
        with self._connection.transaction(durable=False) as connection:
            renew(connection, worker, lease_seconds)

    def orphaned(self, worker: str, role: str = "") -> int:
        """End the leases of a worker that is known to be dead; their attempts stay counted.

        ``role``: what it worked as, where its death is to be counted.
        """
        with self._connection.transaction() as connection:
            if role:
                note_death(connection, role)
            return orphan(connection, OF_A_WORKER, worker=worker)

    def begun(self, workers: Sequence[Worker]) -> int:
        """Note who starts now, and end the leases of all whom nobody knows; return how many.

        Whoever had these roles before is dead: the caller holds their locks.
        """
        with self._connection.transaction() as connection:
            for role in {worker.role for worker in workers}:
                connection.run(_SQL["forget_workers"], role=role)
            for worker in workers:
                _note(connection, worker, "starting", None)
            return orphan(connection, OF_NOBODY_KNOWN)


def _note(connection: Connection, worker: Worker, state: str, detail: str | None) -> None:
    connection.run(
        _SQL["note_worker"],
        role=worker.role,
        number=worker.number,
        token=worker.token,
        host=socket.gethostname(),
        pid=os.getpid(),
        state=state,
        detail=detail,
        now=connection.now(),
    )
