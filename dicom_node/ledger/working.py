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
from dicom_node.ledger.headlines import ListLine, headlines_text
from dicom_node.ledger.interface import Conclusion
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import instance_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import (
    INSTANCES,
    STUDIES,
    move,
    required,
    retraction_of,
)
from dicom_node.ledger.told import told_by
from dicom_node.records import Digest, Instance, InstanceId, InstanceState, StudyState

MAX_ATTEMPTS = 2
"""A film that stopped its worker so often is set aside."""

_SQL = statements("work")


class Working(Part):
    """Claims of instances and what became of them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._set_aside: list[InstanceId] = []

    def claim_instances(
        self,
        state: InstanceState,
        worker: str,
        lease_seconds: float,
        limit: int,
        *,
        suspects: bool = True,
    ) -> Sequence[Instance]:
        """Take up to ``limit`` instances in ``state`` that nobody holds, oldest first.

        A film whose worker died once is handed out alone, so that it cannot take others with it,
        and only where ``suspects``: what its worker has under way would count against it. Every
        free one that stopped its worker twice is moved to `failed` first.
        ``attempts`` of what is returned does not count this one.
        """
        if not self._has_work(state):
            return []
        self._end_spent_films(state)
        with self._connection.transaction(durable=False) as connection:
            taken = connection.all(
                _SQL["claim_films"],
                state=str(state),
                now=connection.now(),
                worker=worker,
                until=text_of(connection.moment() + timedelta(seconds=lease_seconds)),
                limit=limit,
                suspects=suspects,
                most=MAX_ATTEMPTS,
            )
            ids = json.dumps([row["id"] for row in taken])
            rows = connection.all(_SQL["claimed_films"], ids=ids)
        # What is told of a film are its earlier attempts, without this one.
        found = [instance_of(row) for row in rows]
        return [replace(film, attempts=film.attempts - 1) for film in found]

    def _end_spent_films(self, state: InstanceState) -> None:
        # By itself, since it is an end and durable, and a claim is not.
        if not self._spent_films(state):
            return
        with self._connection.transaction() as connection:
            aside = self._spent_films(state)
            for row in aside:
                _set_aside(connection, row)
        self._set_aside += [InstanceId(row["id"]) for row in aside]

    def _spent_films(self, state: InstanceState) -> Sequence[Row]:
        return self._connection.all(
            _SQL["spent_films"], state=str(state), now=self._connection.now(), most=MAX_ATTEMPTS
        )

    def quarantined(self) -> Sequence[InstanceId]:
        """Return, once, which films `claim_instances` of this process has set aside."""
        told, self._set_aside = self._set_aside, []
        return told

    def _has_work(self, state: InstanceState) -> bool:
        row = self._connection.one(
            _SQL["any_film_to_claim"], state=str(state), now=self._connection.now()
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
            connection.run(_SQL["rank_study"], id=row["study_id"])

    def analysed(
        self,
        instance_id: InstanceId,
        worker: str,
        findings_json: str,
        saliency: Digest | None,
        headlines: Sequence[ListLine] = (),
        severity: float = 0.0,
    ) -> None:
        """Move to `analysed` with the findings, and the digest of the stored saliency maps.

        ``headlines``, ``severity``: see `Conclusion`.
        """
        self._finish(
            instance_id,
            worker,
            InstanceState.ANALYSED,
            **_answered(findings_json, saliency, headlines, severity),
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
                    _keep_beside(connection, one)
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
                move(
                    connection, STUDIES, study, StudyState.OPEN,
                    detail=f"asked by {who}", reason=retraction_of(study),
                )  # fmt: skip


def _keep_beside(connection: Connection, conclusion: Conclusion) -> None:
    """Keep what was said in shadow in place of what was said earlier."""
    film = conclusion.instance.id
    connection.run(_SQL["forget_shadow"], id=film)
    for network, told in conclusion.beside.items():
        connection.run(
            _SQL["keep_shadow"], id=film, network=network, observations=told,
            now=connection.now(),
        )  # fmt: skip


def _values_of(conclusion: Conclusion) -> dict[str, Any]:
    if conclusion.findings_json is None:
        return {"reason": conclusion.reason}
    return _answered(
        conclusion.findings_json, conclusion.saliency, conclusion.headlines, conclusion.severity
    )


def _answered(
    findings_json: str,
    saliency: Digest | None,
    headlines: Sequence[ListLine],
    severity: float,
) -> dict[str, Any]:
    """Return what is written of a film that was analysed."""
    return {
        "findings_json": findings_json,
        "saliency_digest": saliency,
        "headlines": headlines_text(headlines),
        **told_by(json.loads(findings_json), severity),
    }


def _set_aside(connection: Connection, row: Row) -> None:
    reason = f"quarantined: its worker stopped {row['attempts']} times while working on this film"
    move(connection, INSTANCES, row, InstanceState.FAILED, reason=reason)
