"""The ledger as the sender sees it: the outbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dicom_node.errors import RowMissing, TransitionRefused
from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.part import Part
from dicom_node.ledger.rows import delivery_of
from dicom_node.ledger.statements import statements
from dicom_node.ledger.steps import DELIVERIES, held, move, record, required
from dicom_node.records import SHADOW, Delivery, DeliveryId, DeliveryState, StudyId

_EXPIRED_AT_ONCE = 500
_SQL = statements("outbox")


class Delivering(Part):
    """Claims of deliveries and what became of them."""

    def claim_deliveries(
        self, worker: str, lease_seconds: float, limit: int, busy: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take due deliveries of *one* destination and study (not in ``busy``), oldest first."""
        # Read first: an idle sender must not take the write lock several times a second.
        if _first_due(self._connection, busy) is None:
            return []
        with self._connection.transaction(durable=False) as connection:
            first = _first_due(connection, busy)
            if first is None:
                return []
            taken = connection.all(
                _SQL["claim_deliveries"],
                now=connection.now(),
                destination=first["destination"],
                study=first["study_id"],
                limit=limit,
                worker=worker,
                until=text_of(connection.moment() + timedelta(seconds=lease_seconds)),
            )
            ids = json.dumps([row["id"] for row in taken])
            rows = connection.all(_SQL["claimed_deliveries"], ids=ids)
            found = [with_alternatives(connection, row) for row in rows]
        # What is told of a delivery are its earlier attempts, without this one.
        return [replace(delivery, attempts=delivery.attempts - 1) for delivery in found]

    def pin(self, delivery_id: DeliveryId, worker: str, sop_instance_uid: str) -> None:
        """Note which alternative is being sent, before its first byte leaves."""
        with self._connection.transaction() as connection:
            pinned = connection.run(
                _SQL["pin"],
                uid=sop_instance_uid,
                id=delivery_id,
                worker=worker,
            )
            if not pinned:
                held(connection, DELIVERIES, delivery_id, worker)

    def returned(self, delivery_ids: Sequence[DeliveryId], worker: str) -> None:
        """Give back what ``worker`` still holds of these, as if it had not been claimed."""
        with self._connection.transaction(durable=False) as connection:
            for delivery_id in delivery_ids:
                connection.run(_SQL["return_delivery"], id=delivery_id, worker=worker)

    def sent(self, delivery_id: DeliveryId, worker: str, status: int) -> None:
        """Move to `sent`; ``status`` is the C-STORE status (0x0000 or a warning)."""
        with self._connection.transaction() as connection:
            row = held(connection, DELIVERIES, delivery_id, worker)
            attempts = row["attempts"]
            move(
                connection, DELIVERIES, row, DeliveryState.SENT,
                status=status, attempts=attempts, sent_at=connection.now(),
            )  # fmt: skip
            connection.run(_SQL["note_sent"], ae=row["destination"], now=connection.now())

    def postponed(
        self,
        delivery_id: DeliveryId,
        worker: str,
        next_attempt_at: datetime,
        reason: str,
        status: int | None = None,
    ) -> None:
        """Keep `waiting` with a later attempt."""
        with self._connection.transaction() as connection:
            row = held(connection, DELIVERIES, delivery_id, worker)
            connection.run(
                _SQL["postpone"],
                next=text_of(next_attempt_at),
                reason=reason,
                status=status,
                id=delivery_id,
            )
            record(connection, DELIVERIES, row, "postponed", reason)
            _note_error(connection, row["destination"], reason)

    def delivery_refused(
        self, delivery_id: DeliveryId, worker: str, reason: str, status: int | None = None
    ) -> None:
        """Move to `refused`: trying again by itself would not help."""
        with self._connection.transaction() as connection:
            row = held(connection, DELIVERIES, delivery_id, worker)
            _end(connection, row, DeliveryState.REFUSED, reason, status)
            _note_error(connection, row["destination"], reason)

    def delivery_not_accepted(self, delivery_id: DeliveryId, worker: str, reason: str) -> None:
        """Move to `refused` an object whose SOP class the AE does not accept: no error."""
        with self._connection.transaction() as connection:
            row = held(connection, DELIVERIES, delivery_id, worker)
            _end(connection, row, DeliveryState.REFUSED, reason, None)
            connection.run(_SQL["note_not_accepted"], id=delivery_id)

    def negotiated(
        self, ae_title: str, accepted: Sequence[str], not_accepted: Sequence[str]
    ) -> None:
        """Remember of each SOP class of results whether an AE accepted it when last asked."""
        known = self._connection.one(_SQL["negotiated"], ae=ae_title)
        # An association proposes the classes of its own objects: of the others it says nothing.
        said = (
            _joined_classes(known, "accepted", accepted, not_accepted),
            _joined_classes(known, "not_accepted", not_accepted, accepted),
        )
        if known is not None and (known["accepted"], known["not_accepted"]) == said:
            return
        with self._connection.transaction() as connection:
            connection.run(
                _SQL["note_negotiated"],
                ae=ae_title,
                accepted=said[0],
                not_accepted=said[1],
            )

    def expire_deliveries(self) -> Sequence[Delivery]:
        """Move to `expired` what was not delivered in time."""
        ended: list[Delivery] = []
        while _expired(self._connection, 1):
            # A bounded transaction: others write in between.
            with self._connection.transaction() as connection:
                for row in _expired(connection, _EXPIRED_AT_ONCE):
                    reason = f"not delivered in time; last: {row['reason'] or 'never tried'}"
                    _end(connection, row, DeliveryState.EXPIRED, reason, row["status"])
                    ended.append(with_alternatives(connection, joined(connection, row["id"])))
        return ended

    def resend(self, delivery_id: DeliveryId, who: str, keep_hours: float) -> None:
        """Move a refused, expired or sent delivery back to `waiting`, due now.

        A waiting one is made due at once; one held for approval is thereby approved. The same bytes
        are sent again. Raises `TransitionRefused` for what is kept in shadow, also once given up.
        """
        with self._connection.transaction() as connection:
            row = required(connection, DELIVERIES, delivery_id)
            if row["held"] == SHADOW:
                raise TransitionRefused(
                    f"The delivery {delivery_id} is kept in shadow: it never leaves as it is.",
                    remedy=f"Set another `release` in the file of {row['destination']} in remotes/,"
                    " then let the case be analysed again.",
                )
            now = connection.now()
            expires = text_of(connection.moment() + timedelta(hours=keep_hours))
            if row["state"] == DeliveryState.WAITING:
                connection.run(_SQL["hurry"], now=now, expires=expires, id=delivery_id)
                what = "released" if row["held"] else "hurried"
                record(connection, DELIVERIES, row, what, f"by {who}")
                return
            move(
                connection,
                DELIVERIES,
                row,
                DeliveryState.WAITING,
                next_attempt_at=now,
                expires_at=expires,
                reason=f"asked again by {who}",
                held=None,
            )
            connection.run(_SQL["ask_whether_accepted"], id=delivery_id)

    def approve(self, study_id: StudyId, who: str, keep_hours: float) -> int:
        """Make due, at once, everything of a study that waits for a person's approval.

        Returns how many deliveries that were; what is kept in shadow stays.
        """
        with self._connection.transaction() as connection:
            rows = connection.all(
                _SQL["approve"],
                study=study_id, shadow=SHADOW, now=connection.now(),
                expires=text_of(connection.moment() + timedelta(hours=keep_hours)),
            )  # fmt: skip
            for row in rows:
                record(connection, DELIVERIES, row, "released", f"by {who}")
        return len(rows)

    def drop(self, delivery_id: DeliveryId, who: str) -> None:
        """Give a waiting delivery up (it becomes `expired`, with who did it)."""
        with self._connection.transaction() as connection:
            row = required(connection, DELIVERIES, delivery_id)
            if row["state"] != DeliveryState.WAITING:
                raise TransitionRefused(
                    f"The delivery {delivery_id} is {row['state']}: only a waiting one is dropped."
                )
            _end(connection, row, DeliveryState.EXPIRED, f"dropped by {who}", row["status"])


def _joined_classes(
    known: Row | None, column: str, now: Sequence[str], otherwise: Sequence[str]
) -> str:
    """Return the JSON of the classes known for a column, as it stands after an association."""
    before = json.loads(known[column] or "[]") if known is not None else []
    return json.dumps(sorted({*now, *(set(before) - set(otherwise))}))


def with_alternatives(connection: Connection, row: Row) -> Delivery:
    """Return the delivery of a row together with the objects of its group."""
    alternatives = connection.all(_SQL["alternatives"], group=row["group_key"])
    return delivery_of(row, alternatives)


def joined(connection: Connection, delivery_id: int) -> Row:
    """Return a delivery's row with its study's Study Instance UID. Raises `RowMissing`."""
    row = connection.one(_SQL["delivery"], id=delivery_id)
    if row is None:
        raise RowMissing(f"There is no delivery {delivery_id}.")
    return row


def _first_due(connection: Connection, busy: Sequence[str]) -> Row | None:
    heads = [
        head
        for name in _waiting_destinations(connection)
        if name not in busy and (head := _head(connection, name)) is not None
    ]
    return min(heads, key=lambda row: (row["next_attempt_at"], row["id"]), default=None)


def _waiting_destinations(connection: Connection) -> Sequence[str]:
    rows = connection.all(_SQL["waiting_destinations"])
    return [row["name"] for row in rows]


def _head(connection: Connection, destination: str) -> Row | None:
    return connection.one(_SQL["first_due"], destination=destination, now=connection.now())


def _expired(connection: Connection, limit: int) -> Sequence[Row]:
    return connection.all(_SQL["overdue_deliveries"], now=connection.now(), limit=limit)


def _end(
    connection: Connection, row: Row, state: DeliveryState, reason: str, status: int | None
) -> None:
    move(
        connection,
        DELIVERIES,
        row,
        state,
        reason=reason,
        status=status,
        attempts=row["attempts"],
    )


def _note_error(connection: Connection, ae_title: str, reason: str) -> None:
    connection.run(_SQL["note_error"], ae=ae_title, reason=reason, now=connection.now())
