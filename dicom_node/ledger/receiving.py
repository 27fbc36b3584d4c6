"""The ledger as the receiver sees it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.interface import Received
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import refusal_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import INSTANCES, STUDIES, move, record, required, retraction_of
from dicom_node.records import (
    OTHER_CALLERS,
    Arrival,
    InstanceId,
    InstanceState,
    Refusal,
    StudyState,
)

_SQL = statements("arrivals")
_MOST_REFUSALS = 500


@dataclass(slots=True, eq=False)
class _Ticket:
    """An arrival that waits for its commit, and what became of it."""

    arrival: Arrival
    outcome: Received | Exception | None = None


class Receiving(Part):
    """Arrivals and refusals."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._waiting: list[_Ticket] = []
        self._waiting_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def received(self, arrival: Arrival) -> Received:
        """Add the instance (or count a duplicate, note its sender) and open its study again.

        Threads that call at the same time share one commit: while one waits for the disk, the
        others queue, and the next to get the lock commits for all of them.
        """
        ticket = _Ticket(arrival)
        with self._waiting_lock:
            self._waiting.append(ticket)
        with self._commit_lock:
            if ticket.outcome is None:
                with self._waiting_lock:
                    tickets, self._waiting = self._waiting, []
                self._commit(tickets)
        if isinstance(ticket.outcome, Received):
            return ticket.outcome
        raise ticket.outcome or LedgerUnavailable("The thread that should commit was ended.")

    def _commit(self, tickets: Sequence[_Ticket]) -> None:
        try:
            with self._connection.transaction() as connection:
                outcomes = [_outcome(connection, ticket.arrival) for ticket in tickets]
        except LedgerUnavailable as error:
            for ticket in tickets:
                # One object for each: a traceback belongs to one thread.
                ticket.outcome = LedgerUnavailable(error.message, remedy=error.remedy)
            return
        except BaseException:
            for ticket in tickets:
                ticket.outcome = LedgerUnavailable("The thread that should commit was ended.")
            raise
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            ticket.outcome = outcome

    def refused(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        peer_address: str,
        reason: str,
        remedy: str = "",
    ) -> None:
        """Count an association that was rejected."""
        now = self._connection.moment()
        self.refused_all(
            [Refusal(calling_ae_title, called_ae_title, peer_address, reason, 1, now, remedy)]
        )

    def refused_all(self, refusals: Sequence[Refusal]) -> None:
        """Count associations that were rejected, in one transaction.

        Titles are chosen by strangers: the latest are kept, the others are counted in one row.
        """
        with self._connection.transaction() as connection:
            for each in refusals:
                _count_refusal(connection, each)
            old = connection.one(
                _SQL["refusals_too_many"], most=_MOST_REFUSALS, others=OTHER_CALLERS
            )
            if old is not None:
                _join_old_refusals(connection, old["last_at"])

    def dismiss_refusals(
        self, calling_ae_title: str | None = None, called_ae_title: str | None = None,
        peer_address: str | None = None, reason: str | None = None,
    ) -> int:  # fmt: skip
        """Forget refusals that have been seen, all that match; return how many there were."""
        with self._connection.transaction() as connection:
            return connection.run(
                _SQL["dismiss_refusals"],
                calling=calling_ae_title,
                called=called_ae_title,
                peer=peer_address,
                reason=reason,
            )

    def refusals(self) -> Sequence[Refusal]:
        """Return who was rejected, latest first: all that are kept."""
        rows = self._connection.all(_SQL["refusals"])
        return [refusal_of(row) for row in rows]


def _count_refusal(connection: Connection, each: Refusal) -> None:
    connection.run(
        _SQL["count_refusal"],
        calling=each.calling_ae_title,
        called=each.called_ae_title,
        peer=each.peer_address,
        reason=each.reason,
        remedy=each.remedy,
        count=each.count,
        at=text_of(each.last_at),
    )


def _join_old_refusals(connection: Connection, until: str) -> None:
    """Count what was refused until then in one row and forget it."""
    joined = connection.one(_SQL["sum_old_refusals"], until=until, others=OTHER_CALLERS)
    assert joined is not None
    connection.run(_SQL["forget_old_refusals"], until=until, others=OTHER_CALLERS)
    last = datetime.fromisoformat(joined["last"])
    _count_refusal(connection, Refusal("", "", "", OTHER_CALLERS, joined["count"], last))


def _outcome(connection: Connection, arrival: Arrival) -> Received | Exception:
    try:
        with connection.step():
            return _take(connection, arrival)
    except Exception as error:
        # What is wrong with one arrival must not fail the others; its own caller raises it. But
        # where SQLite ended the transaction (disk full, say), nothing of this commit is durable.
        if not connection.in_transaction:
            raise
        return error


def _take(connection: Connection, arrival: Arrival) -> Received:
    _note_contact(connection, arrival.origin.calling_ae_title)
    known = connection.all(_SQL["known_instances"], uid=arrival.sop_instance_uid)
    same = next((row for row in known if row["digest"] == arrival.digest), None)
    if same is not None:
        _count_duplicate(connection, same, arrival)
        return Received(InstanceId(same["id"]), duplicate=True, conflict=False)
    study = _open_study(connection, arrival.study_instance_uid)
    instance_id = _add(connection, arrival, study, conflict=bool(known))
    return Received(instance_id, duplicate=False, conflict=bool(known))


def _note_contact(connection: Connection, ae_title: str) -> None:
    connection.run(_SQL["note_contact"], ae=ae_title, now=connection.now())


def _open_study(connection: Connection, study_instance_uid: str) -> Row:
    study = connection.one(_SQL["change_study"], uid=study_instance_uid, now=connection.now())
    if study is not None:
        _reopen(connection, study)
        return study
    study_id = connection.insert(
        "studies",
        study_instance_uid=study_instance_uid,
        state=str(StudyState.OPEN),
        opened_at=connection.now(),
        changed_at=connection.now(),
    )
    return {"id": study_id}


def _reopen(connection: Connection, study: Row) -> None:
    # A report that is being written loses its lease and is written again with this instance.
    if study["state"] != StudyState.OPEN:
        move(connection, STUDIES, study, StudyState.OPEN, reason=retraction_of(study))


def _add(connection: Connection, arrival: Arrival, study: Row, *, conflict: bool) -> InstanceId:
    instance_id = connection.insert(
        "instances",
        study_id=study["id"],
        sop_instance_uid=arrival.sop_instance_uid,
        sop_class_uid=arrival.sop_class_uid,
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        series_instance_uid=arrival.series_instance_uid,
        digest=arrival.digest,
        size_bytes=arrival.size_bytes,
        state=str(InstanceState.RECEIVED),
        conflict=int(conflict),
        received_at=_came_at(connection, arrival),
    )
    row = {"id": instance_id, "study_id": study["id"]}
    _note_origin(connection, row, arrival)
    detail = "conflict: same SOP Instance UID, other bytes" if conflict else None
    record(connection, INSTANCES, row, "received", detail)
    connection.run(_SQL["describe_study_again"], id=study["id"])
    return InstanceId(instance_id)


def _came_at(connection: Connection, arrival: Arrival) -> str:
    """Return when the bytes came: for the record, so never later than now."""
    now = connection.now()
    return now if arrival.received_at is None else min(now, text_of(arrival.received_at))


def _note_origin(connection: Connection, row: Row, arrival: Arrival) -> bool:
    return bool(
        connection.run(
            _SQL["note_origin"],
            instance=row["id"],
            study=row["study_id"],
            calling=arrival.origin.calling_ae_title,
            called=arrival.origin.called_ae_title,
            peer=arrival.origin.peer_address,
            now=connection.now(),
        )
    )


def _count_duplicate(connection: Connection, row: Row, arrival: Arrival) -> None:
    connection.run(_SQL["count_duplicate"], id=row["id"])
    new_sender = _note_origin(connection, row, arrival)
    record(connection, INSTANCES, row, "duplicate", f"from {arrival.origin.calling_ae_title}")
    if new_sender:
        # The results exist; the study is looked at again so that this sender gets them too.
        _reopen(connection, required(connection, STUDIES, row["study_id"]))
