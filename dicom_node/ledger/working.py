"""The ledger as intake and analysis see it: claims and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.ledger.connection import Connection, Row
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import INSTANCE, instance_of
from dicom_node.ledger.steps import (
    INSTANCES,
    STUDIES,
    give_back,
    held,
    lease,
    move,
    orphan,
    renew,
    required,
)
from dicom_node.records import Digest, Instance, InstanceId, InstanceState, StudyState

MAX_ATTEMPTS = 2
"""A film that stopped its worker so often is set aside."""

_FREE = "(instances.lease_until is null or instances.lease_until <= :now)"


class Working(Part):
    """Claims of instances and what became of them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._set_aside: list[InstanceId] = []

    def claim_instances(
        self, state: InstanceState, worker: str, lease_seconds: float, limit: int
    ) -> Sequence[Instance]:
        """Take up to ``limit`` instances in ``state`` that nobody holds, oldest first.

        A film whose worker died once is handed out alone, so that it cannot take others with it.
        ``attempts`` of what is returned does not count this one.
        """
        if not self._has_work(state):
            return []
        with self._connection.transaction() as connection:
            taken: list[Row] = []
            aside: list[InstanceId] = []
            for row in _free(connection, state, limit):
                if row["attempts"] >= MAX_ATTEMPTS:
                    _set_aside(connection, row)
                    aside.append(InstanceId(row["id"]))
                    continue
                if row["attempts"] > 0 and taken:
                    break
                taken.append(row)
                if row["attempts"] > 0:
                    break
            for row in taken:
                lease(connection, INSTANCES, row, worker, lease_seconds)
        self._set_aside += aside
        return [instance_of(row) for row in taken]

    def quarantined(self) -> Sequence[InstanceId]:
        """Return, once, which films `claim_instances` of this process has set aside."""
        told, self._set_aside = self._set_aside, []
        return told

    def _has_work(self, state: InstanceState) -> bool:
        # Read first: an idle worker must not take the write lock several times a second.
        row = self._connection.one(
            f"select 1 from instances where state = :state and {_FREE} limit 1",  # noqa: S608
            state=str(state),
            now=self._connection.now(),
        )
        return row is not None

    def declined(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `declined`."""
        self._finish(instance_id, worker, InstanceState.DECLINED, reason=reason)

    def admitted(
        self,
        instance_id: InstanceId,
        worker: str,
        view: str | None,
        patient_key: str | None = None,
    ) -> None:
        """Move to `admitted`; ``patient_key``: see `Patients`."""
        self._finish(
            instance_id, worker, InstanceState.ADMITTED, view=view, patient_key=patient_key
        )

    def analysed(
        self, instance_id: InstanceId, worker: str, findings_json: str, saliency: Digest | None
    ) -> None:
        """Move to `analysed` with the findings, and the digest of the stored saliency maps."""
        self._finish(
            instance_id,
            worker,
            InstanceState.ANALYSED,
            findings_json=findings_json,
            saliency_digest=saliency,
        )

    def failed(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `failed`."""
        self._finish(instance_id, worker, InstanceState.FAILED, reason=reason)

    def _finish(
        self,
        instance_id: InstanceId,
        worker: str,
        target: InstanceState,
        **values: str | None,
    ) -> None:
        with self._connection.transaction() as connection:
            row = held(connection, INSTANCES, instance_id, worker)
            move(connection, INSTANCES, row, target, **values)

    def asked_again(self, instance_id: InstanceId, who: str) -> None:
        """Move a finished instance back to `received`: a person wants it analysed once more."""
        with self._connection.transaction() as connection:
            row = required(connection, INSTANCES, instance_id)
            move(connection, INSTANCES, row, InstanceState.RECEIVED, detail=f"asked by {who}")
            study = required(connection, STUDIES, row["study_id"])
            if study["state"] != StudyState.OPEN:
                move(connection, STUDIES, study, StudyState.OPEN, detail=f"asked by {who}")

    def release(self, worker: str) -> None:
        """Give back every lease of ``worker`` without counting the attempt: an orderly stop."""
        with self._connection.transaction() as connection:
            give_back(connection, worker)

    def renewed(self, worker: str, lease_seconds: float) -> None:
        """Let every lease of ``worker`` last so long from now: it lives and is at work."""
        with self._connection.transaction() as connection:
            renew(connection, worker, lease_seconds)

    def orphaned(self, worker_prefix: str) -> int:
        """End the leases of workers that are known to be dead; their attempts stay counted."""
        with self._connection.transaction() as connection:
            return orphan(connection, worker_prefix)


def _free(connection: Connection, state: InstanceState, limit: int) -> Sequence[Row]:
    return connection.all(
        f"{INSTANCE} where instances.state = :state and {_FREE} order by instances.id limit :limit",
        state=str(state),
        now=connection.now(),
        limit=limit,
    )


def _set_aside(connection: Connection, row: Row) -> None:
    reason = f"quarantined: its worker stopped {row['attempts']} times while working on this film"
    move(connection, INSTANCES, row, InstanceState.FAILED, reason=reason)
