"""The ledger as the report writer sees it: studies, frozen result objects, the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import result_of, study_of
from dicom_node.ledger.steps import (
    DELIVERIES,
    STUDIES,
    held,
    move,
    record,
    required,
)
from dicom_node.records import (
    REJECTION,
    DeliveryState,
    Digest,
    ResultObject,
    Study,
    StudyId,
    StudyState,
)

MAX_ATTEMPTS = 3

NEVER = "9999-12-31T00:00:00.000000+00:00"
"""When a held delivery is due."""

_PENDING = (
    "exists (select 1 from instances where study_id = studies.id"
    " and state in ('received', 'admitted'))"
)

_QUIET = (
    "studies indexed by studies_at_rest where state = 'quiet'"
    " and (lease_until is null or lease_until <= :now)"
)

_ANY_QUIET = f"select 1 from {_QUIET} limit 1"  # noqa: S608
_SPENT = f"select * from {_QUIET} and attempts >= {MAX_ATTEMPTS}"  # noqa: S608

_CLAIM = f"""
    update studies set lease_owner = :worker, lease_until = :until, attempts = attempts + 1
    where id in (
        select id from {_QUIET} order by attempts, priority desc, changed_at limit 1
    ) returning *
"""  # noqa: S608
"""One that stopped its worker stands behind the others."""

_ROWS = ("deliveries", "results", "origins", "instances")

_DONE = (
    "state = 'reported' and not exists (select 1 from deliveries where study_id = studies.id"
    " and state not in ('sent', 'committed') and not not_accepted"
    " and coalesce(held, '') <> 'shadow')"
)
_PARKED = (
    "state = 'reported' and not exists (select 1 from deliveries where study_id = studies.id"
    " and state = 'waiting' and held is null)"
)
"""Nothing of the study goes by itself any more: refused, expired, or held and never approved."""


class Reporting(Part):
    """Studies on their way from open to reported."""

    def quieten(self, quiet_seconds: float) -> Sequence[Study]:
        """Move to `quiet` every open study without news for so long and without work left."""
        oldest = text_of(self._connection.moment() - timedelta(seconds=quiet_seconds))
        sql = (
            "select * from studies where state = 'open'"  # noqa: S608
            # What changed in the future did so before the clock was set back.
            " and (changed_at <= :oldest or changed_at > :now)"
            f" and not {_PENDING} order by changed_at limit 100"
        )
        now = self._connection.now()
        if self._connection.one(sql, oldest=oldest, now=now) is None:
            return []
        with self._connection.transaction() as connection:
            rows = connection.all(sql, oldest=oldest, now=now)
            for row in rows:
                move(connection, STUDIES, row, StudyState.QUIET)
            return [study_of(row) for row in rows]

    def claim_quiet_study(self, worker: str, lease_seconds: float) -> Study | None:
        """Take one quiet study to write its results; one that failed thrice is ended with why."""
        if self._connection.one(_ANY_QUIET, now=self._connection.now()) is None:
            return None
        with self._connection.transaction() as connection:
            now = connection.now()
            for row in connection.all(_SPENT, now=now):
                reason = f"writing the results stopped {row['attempts']} times"
                move(connection, STUDIES, row, StudyState.REPORTED, reason=reason)
            taken = connection.all(
                _CLAIM,
                now=now,
                worker=worker,
                until=text_of(connection.moment() + timedelta(seconds=lease_seconds)),
            )
        # What is told of a study are its earlier attempts, without this one.
        found = [replace(study, attempts=study.attempts - 1) for study in map(study_of, taken)]
        return next(iter(found), None)

    def origins(self, study_id: StudyId) -> Sequence[str]:
        """Return the calling AE titles that sent instances of the study, first sender first."""
        rows = self._connection.all(
            """select calling_ae_title, min(id) as first from origins where study_id = :id
               group by calling_ae_title order by first""",
            id=study_id,
        )
        return [row["calling_ae_title"] for row in rows]

    def results(self, study_id: StudyId) -> Sequence[ResultObject]:
        """Return all result objects ever written for the study, oldest first."""
        rows = self._connection.all(
            "select * from results where study_id = :id order by id", id=study_id
        )
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
        revision stays, and only deliveries that are missing are added. ``recipes``: by group.
        """
        with self._connection.transaction() as connection:
            row = held(connection, STUDIES, study.id, worker)
            revision = study.revision + (study.signature != signature)
            for group, recipe in (recipes or {}).items():
                _keep(connection, study.id, group, recipe)
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
            waiting = connection.all(
                "select * from deliveries where study_id = :id and state = 'waiting'"
                " and group_key not like :notes",
                id=study_id,
                notes=f"{REJECTION}%",
            )
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
            reason = f"results retracted by {who}"
            connection.run("update studies set reason = :reason where id = :id",
                           reason=reason, id=study_id)  # fmt: skip
            record(connection, STUDIES, row, "retracted", reason)
            return added

    def study_failed(self, study: Study, worker: str, reason: str) -> None:
        """Note why no result could be written and move to `reported` with that reason."""
        with self._connection.transaction() as connection:
            row = required(connection, STUDIES, study.id)
            move(connection, STUDIES, row, StudyState.REPORTED, worker=worker, reason=reason)

    def removable(self, keep_days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that whose deliveries are all sent, oldest first."""
        return self._ended(_DONE, keep_days, limit)

    def parked(self, days: float, limit: int = 100) -> Sequence[Study]:
        """Return reported studies older than that of which nothing goes by itself any more."""
        return self._ended(_PARKED, days, limit)

    def _ended(self, how: str, days: float, limit: int) -> Sequence[Study]:
        oldest = text_of(self._connection.moment() - timedelta(days=days))
        rows = self._connection.all(
            f"select * from studies where {how} and changed_at <= :oldest"  # noqa: S608
            " order by changed_at limit :limit",
            oldest=oldest,
            limit=limit,
        )
        return [study_of(row) for row in rows]

    def forget(self, study_id: StudyId, *, parked: bool = False) -> Sequence[Digest]:
        """Remove a study's rows and return the digests that no other row names.

        A study that is not, or no longer, `removable` (or `parked`, where told so) is left alone:
        a film may just have arrived, or a person may have asked for a delivery again.
        """
        with self._connection.transaction() as connection:
            row = connection.one(
                f"select * from studies where id = :id"  # noqa: S608
                f" and {_PARKED if parked else _DONE}",
                id=study_id,
            )
            if row is None:
                return []
            digests = _digests(connection, study_id)
            record(connection, STUDIES, row, "forgotten", row["study_instance_uid"])
            connection.run("delete from case_words where rowid = :id", id=study_id)
            for table in ("readings", "cases", *_ROWS):
                connection.run(f"delete from {table} where study_id = :id", id=study_id)  # noqa: S608
            connection.run("delete from studies where id = :id", id=study_id)
            return [digest for digest in digests if not _is_named(connection, digest)]


def _keep(connection: Connection, study_id: StudyId, group: str, recipe: bytes) -> None:
    connection.run(
        """insert into recipes (group_key, study_id, recipe)
           values (:group, :study, :recipe) on conflict do nothing""",
        group=group,
        study=study_id,
        recipe=recipe,
    )


def _freeze(connection: Connection, study: Row, item: ResultObject, revision: int) -> None:
    # An object that exists keeps its bytes for ever; it only becomes part of the new revision.
    connection.run(
        """insert into results (study_id, revision, group_key, kind, sop_instance_uid,
               sop_class_uid, series_instance_uid, digest, size_bytes, written_at)
           values (:study, :revision, :group, :kind, :uid, :sop_class, :series, :digest, :size,
               :now)
           on conflict (sop_instance_uid) do update set revision = :revision""",
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
        """insert into deliveries (study_id, group_key, kind, destination, state,
               created_at, next_attempt_at, expires_at, held)
           values (:study, :group, :kind, :destination, 'waiting', :now, :due, :expires, :held)
           on conflict (group_key, destination) do update set held = :held,
               next_attempt_at = :due, expires_at = :expires
               where held = 'shadow' and :held is not 'shadow' and state = 'waiting'""",
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
        row = connection.one(
            "select * from deliveries where group_key = :group and destination = :destination",
            group=group,
            destination=parcel.destination,
        )
        assert row is not None
        told = parcel.destination + (f", held: {parcel.held}" if parcel.held else "")
        record(connection, DELIVERIES, row, str(DeliveryState.WAITING), told)
    return added


def _digests(connection: Connection, study_id: StudyId) -> Sequence[Digest]:
    rows = connection.all(
        """select digest from instances where study_id = :id
           union select saliency_digest from instances
               where study_id = :id and saliency_digest is not null
           union select digest from results where study_id = :id""",
        id=study_id,
    )
    return [Digest(row["digest"]) for row in rows]


def _is_named(connection: Connection, digest: Digest) -> bool:
    row = connection.one(
        """select 1 from instances where digest = :digest
           union all select 1 from instances where saliency_digest = :digest
           union all select 1 from results where digest = :digest limit 1""",
        digest=digest,
    )
    return row is not None
