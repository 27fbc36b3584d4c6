"""The ledger as the report writer sees it: studies, frozen result objects, the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import result_of, study_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import (
    DELIVERIES,
    STUDIES,
    held,
    move,
    record,
    required,
    retraction_of,
)
from dicom_node.records import (
    REJECTION,
    RETRACTED,
    DeliveryState,
    Digest,
    ResultObject,
    Study,
    StudyId,
    StudyState,
)

MAX_ATTEMPTS = 3
_QUIET_AT_ONCE = 100

NEVER = "9999-12-31T00:00:00.000000+00:00"
"""When a held delivery is due."""

_SQL = statements("studies")

_FORGOTTEN = (
    "forget_words",
    "forget_reading",
    "forget_observations",
    "forget_case",
    "forget_deliveries",
    "forget_results",
    "forget_origins",
    "forget_films",
    "forget_study",
)


class Reporting(Part):
    """Studies on their way from open to reported."""

    def quieten(self, quiet_seconds: float) -> Sequence[Study]:
        """Move to `quiet` every open study without news for so long and without work left."""
        oldest = text_of(self._connection.moment() - timedelta(seconds=quiet_seconds))
        sql, now = _SQL["complete_studies"], self._connection.now()
        if self._connection.one(sql, oldest=oldest, now=now, limit=1) is None:
            return []
        with self._connection.transaction() as connection:
            rows = connection.all(sql, oldest=oldest, now=now, limit=_QUIET_AT_ONCE)
            for row in rows:
                move(connection, STUDIES, row, StudyState.QUIET, reason=retraction_of(row))
            return [study_of(row) for row in rows]

    def claim_quiet_study(self, worker: str, lease_seconds: float) -> Study | None:
        """Take one quiet study to write its results; one that failed thrice is ended with why."""
        if self._connection.one(_SQL["any_quiet_study"], now=self._connection.now()) is None:
            return None
        self._end_spent_studies()
        with self._connection.transaction(durable=False) as connection:
            taken = connection.all(
                _SQL["claim_study"],
                now=connection.now(),
                most=MAX_ATTEMPTS,
                worker=worker,
                until=text_of(connection.moment() + timedelta(seconds=lease_seconds)),
            )
        # What is told of a study are its earlier attempts, without this one.
        found = [replace(study, attempts=study.attempts - 1) for study in map(study_of, taken)]
        return next(iter(found), None)

    def _end_spent_studies(self) -> None:
        # By itself, since it is an end and durable, and a claim is not.
        spent = _SQL["spent_studies"]
        if not self._connection.all(spent, now=self._connection.now(), most=MAX_ATTEMPTS):
            return
        with self._connection.transaction() as connection:
            for row in connection.all(spent, now=connection.now(), most=MAX_ATTEMPTS):
                reason = f"writing the results stopped {row['attempts']} times"
                move(connection, STUDIES, row, StudyState.REPORTED, reason=reason)

    def origins(self, study_id: StudyId) -> Sequence[str]:
        """Return the calling AE titles that sent instances of the study, first sender first."""
        rows = self._connection.all(_SQL["senders_of_study"], id=study_id)
        return [row["calling_ae_title"] for row in rows]

    def results(self, study_id: StudyId) -> Sequence[ResultObject]:
        """Return all result objects ever written for the study, oldest first."""
        rows = self._connection.all(_SQL["results_of_study"], id=study_id)
        return [result_of(row) for row in rows]

    def reported(
        self,
        study: Study,
        worker: str,
        outgoing: Sequence[Outgoing],
        *,
        keep_hours: float,
        signature: str,
        reason: str | None = None,
        recipes: Mapping[str, bytes] | None = None,
    ) -> int:
        """Freeze the objects, fill the outbox, move to `reported`; return new deliveries.

        ``signature`` tells what the objects were made from: if it is the study's already, the
        revision stays, and only deliveries that are missing are added; where a person took those
        results back, none is. ``recipes``: by group.
        """
        with self._connection.transaction() as connection:
            row = held(connection, STUDIES, study.id, worker)
            if row["signature"] == signature and (retraction := retraction_of(row)):
                outgoing, reason = (), retraction
            revision = study.revision + (study.signature != signature)
            for group, recipe in (recipes or {}).items():
                connection.run(_SQL["keep_recipe"], group=group, study=study.id, recipe=recipe)
            added = 0
            for parcel in outgoing:
                for item in parcel.objects:
                    _freeze(connection, row, item, revision)
                added += _post(connection, row, parcel, keep_hours)
            move(
                connection,
                STUDIES,
                row,
                StudyState.REPORTED,
                worker=worker,
                revision=revision,
                signature=signature,
                reason=reason,
            )
            return added

    def retracted(
        self, study_id: StudyId, outgoing: Sequence[Outgoing], who: str, *, keep_hours: float
    ) -> int:
        """Take the study's results back: drop what still waits, send the rejection notes.

        Returns how many rejection notes are new.
        """
        with self._connection.transaction() as connection:
            row = required(connection, STUDIES, study_id)
            waiting = connection.all(_SQL["waiting_results"], id=study_id, notes=f"{REJECTION}%")
            for delivery in waiting:
                move(
                    connection, DELIVERIES, delivery, DeliveryState.EXPIRED,
                    reason=f"retracted by {who}", attempts=delivery["attempts"],
                )  # fmt: skip
            added = 0
            for parcel in outgoing:
                for item in parcel.objects:
                    _freeze(connection, row, item, row["revision"])
                added += _post(connection, row, parcel, keep_hours)
            reason = f"{RETRACTED}{who}"
            connection.run(_SQL["note_retraction"], reason=reason, id=study_id)
            record(connection, STUDIES, row, "retracted", reason)
            return added

    def study_failed(self, study: Study, worker: str, reason: str) -> None:
        """Note why no result could be written and move to `reported` with that reason."""
        with self._connection.transaction() as connection:
            row = required(connection, STUDIES, study.id)
            move(connection, STUDIES, row, StudyState.REPORTED, worker=worker, reason=reason)

    def removable(self, keep_days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that whose deliveries are all sent, oldest first."""
        return self._ended("removable_studies", keep_days, limit)

    def parked(self, days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that of which nothing goes by itself any more."""
        return self._ended("parked_studies", days, limit)

    def _ended(self, how: str, days: float, limit: int) -> Sequence[Study]:
        oldest = text_of(self._connection.moment() - timedelta(days=days))
        rows = self._connection.all(_SQL[how], oldest=oldest, limit=limit)
        return [study_of(row) for row in rows]

    def forget(self, study_id: StudyId, *, parked: bool = False) -> Sequence[Digest]:
        """Remove a study's rows and return the digests that no other row names.

        A study that is not, or no longer, `removable` (or `parked`, where told so) is left alone:
        a film may just have arrived, or a person may have asked for a delivery again.
        """
        with self._connection.transaction() as connection:
            row = connection.one(_SQL["parked_study" if parked else "removable_study"], id=study_id)
            if row is None:
                return []
            digests = _digests(connection, study_id)
            record(connection, STUDIES, row, "forgotten", row["study_instance_uid"])
            for name in _FORGOTTEN:
                connection.run(_SQL[name], id=study_id)
            return [digest for digest in digests if not _is_named(connection, digest)]


def _freeze(connection: Connection, study: Row, item: ResultObject, revision: int) -> None:
    connection.run(
        _SQL["freeze"],
        study=study["id"],
        revision=revision,
        group=item.group,
        kind=str(item.kind),
        uid=item.sop_instance_uid,
        sop_class=item.sop_class_uid,
        series=item.series_instance_uid,
        digest=item.digest,
        size=item.size_bytes,
        now=connection.now(),
    )


def _post(connection: Connection, study: Row, parcel: Outgoing, keep_hours: float) -> int:
    group, kind = parcel.objects[0].group, parcel.objects[0].kind
    now = connection.now()
    expires = text_of(connection.moment() + timedelta(hours=keep_hours))
    added = connection.run(
        _SQL["post"],
        study=study["id"],
        group=group,
        kind=str(kind),
        destination=parcel.destination,
        now=now,
        # What is held is never due and never expires, so that nothing else has to know.
        due=NEVER if parcel.held else now,
        expires=NEVER if parcel.held else expires,
        held=parcel.held,
    )
    if added:
        row = connection.one(_SQL["posted"], group=group, destination=parcel.destination)
        assert row is not None
        told = parcel.destination + (f", held: {parcel.held}" if parcel.held else "")
        record(connection, DELIVERIES, row, str(DeliveryState.WAITING), told)
    return added


def _digests(connection: Connection, study_id: StudyId) -> Sequence[Digest]:
    rows = connection.all(_SQL["digests_of_study"], id=study_id)
    return [Digest(row["digest"]) for row in rows]


def _is_named(connection: Connection, digest: Digest) -> bool:
    row = connection.one(_SQL["is_named"], digest=digest)
    return row is not None
