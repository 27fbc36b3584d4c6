"""The ledger as intake and analysis see it: claims and their outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from dicom_node.errors import LeaseLost, RowMissing
from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.interface import Conclusion
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import INSTANCE, instance_of
from dicom_node.ledger.steps import (
    INSTANCES,
    STUDIES,
    move,
    required,
)
from dicom_node.ledger.told import told_by
from dicom_node.records import Digest, Instance, InstanceId, InstanceState, StudyState

MAX_ATTEMPTS = 2
"""A film that stopped its worker so often is set aside."""

_FREE = "(instances.lease_until is null or instances.lease_until <= :now)"
_ORDER = "instances.priority desc, instances.id"

# SQLite takes an index "where ..." only for a question with the same words in it.
_SPENT = f"""
    select * from instances indexed by instances_suspect
    where state = :state and attempts > 0 and attempts >= {MAX_ATTEMPTS} and {_FREE}
"""  # noqa: S608

_CLAIM = f"""
    with free as (
        select id, attempts, row_number() over (order by priority desc, id) as place from (
            select id, attempts, priority from instances indexed by instances_at_work
            where state = :state and state in ('received', 'admitted') and {_FREE}
            order by {_ORDER} limit :limit
        )
    ), suspect as (
        select min(place) as place from free where attempts > 0
    )
    update instances set lease_owner = :worker, lease_until = :until, attempts = attempts + 1
    where id in (
        select free.id from free, suspect
        where suspect.place is null or free.place < suspect.place
        or (suspect.place = 1 and free.place = 1)
    ) returning id
"""  # noqa: S608
"""The first that are free, up to one whose worker died while it held it; that one alone."""


class Working(Part):
    """Claims of instances and what became of them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._set_aside: list[InstanceId] = []

    def claim_instances(
        self, state: InstanceState, worker: str, lease_seconds: float, limit: int
    ) -> Sequence[Instance]:
        """Take up to ``limit`` instances in ``state`` that nobody holds, oldest first.

        A film whose worker died once is handed out alone, so that it cannot take others with it;
        every free one that stopped its worker twice is moved to `failed` first.
        ``attempts`` of what is returned does not count this one.
        """
        if not self._has_work(state):
            return []
        with self._connection.transaction() as connection:
            aside = connection.all(_SPENT, state=str(state), now=connection.now())
            for row in aside:
                _set_aside(connection, row)
            taken = connection.all(
                _CLAIM,
                state=str(state),
                now=connection.now(),
                worker=worker,
                until=text_of(connection.moment() + timedelta(seconds=lease_seconds)),
                limit=limit,
            )
            rows = connection.all(
                f"{INSTANCE} where instances.id in ({', '.join(str(row['id']) for row in taken)})"
                f" order by {_ORDER}"
            )
        self._set_aside += [InstanceId(row["id"]) for row in aside]
        # What is told of a film are its earlier attempts, without this one.
        found = [instance_of(row) for row in rows]
        return [replace(film, attempts=film.attempts - 1) for film in found]

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
        priority: int = 0,
    ) -> None:
        """Move to `admitted`; ``patient_key``: see `Patients`.

        ``priority``: the highest is analysed first, and its study written first.
        """
        with self._connection.transaction() as connection:
            row = required(connection, INSTANCES, instance_id)
            move(
                connection,
                INSTANCES,
                row,
                InstanceState.ADMITTED,
                worker=worker,
                view=view,
                patient_key=patient_key,
                priority=priority,
            )
            # A study is as urgent as its most urgent film: films that nobody ranks are 0.
            connection.run(
                "update studies set priority = (select max(priority) from instances"
                " where study_id = :id and state not in ('received', 'declined', 'failed'))"
                " where id = :id",
                id=row["study_id"],
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
            **told_by(json.loads(findings_json)),
        )

    def failed(self, instance_id: InstanceId, worker: str, reason: str) -> None:
        """Move to `failed`."""
        self._finish(instance_id, worker, InstanceState.FAILED, reason=reason)

    def concluded(self, worker: str, conclusions: Sequence[Conclusion]) -> frozenset[InstanceId]:
        """Move films to what became of them, in one transaction; return which.

        One whose lease ``worker`` has lost, or that is gone, is dropped alone: no `LeaseLost`.
        """
        moved = set()
        with self._connection.transaction() as connection:
            for one in conclusions:
                with suppress(LeaseLost, RowMissing), connection.step():
                    row = required(connection, INSTANCES, one.instance.id)
                    move(connection, INSTANCES, row, one.state, worker=worker, **_values_of(one))
                    moved.add(one.instance.id)
        return frozenset(moved)

    def _finish(
        self,
        instance_id: InstanceId,
        worker: str,
        target: InstanceState,
        **values: Any,
    ) -> None:
        with self._connection.transaction() as connection:
            row = required(connection, INSTANCES, instance_id)
            move(connection, INSTANCES, row, target, worker=worker, **values)

    def asked_again(self, instance_id: InstanceId, who: str) -> None:
        """Move a finished instance back to `received`: a person wants it analysed once more."""
        with self._connection.transaction() as connection:
            row = required(connection, INSTANCES, instance_id)
            move(connection, INSTANCES, row, InstanceState.RECEIVED, detail=f"asked by {who}")
            study = required(connection, STUDIES, row["study_id"])
            if study["state"] != StudyState.OPEN:
                move(connection, STUDIES, study, StudyState.OPEN, detail=f"asked by {who}")


def _values_of(conclusion: Conclusion) -> dict[str, Any]:
    if conclusion.findings_json is None:
        return {"reason": conclusion.reason}
    return {
        "findings_json": conclusion.findings_json,
        "saliency_digest": conclusion.saliency,
        **told_by(json.loads(conclusion.findings_json)),
    }


def _set_aside(connection: Connection, row: Row) -> None:
    reason = f"quarantined: its worker stopped {row['attempts']} times while working on this film"
    move(connection, INSTANCES, row, InstanceState.FAILED, reason=reason)
