"""The ledger as alarms see it: each is told once when it begins and once when it ends.

An alarm and who is to be told of it are one transaction: whoever is restarted goes on with what is
not told yet, and tells nothing twice but what was told in the very moment in which it died.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import Alarm, AlarmKind, AlarmNotice

RISEN, ENDED = "risen", "ended"
_SQL = statements("alarms")


class AlarmBook(Part):
    """Alarms, and the notices of them."""

    def alarms_up(self) -> Sequence[Alarm]:
        """Return the alarms that have not ended, the oldest first."""
        return [_alarm_of(row) for row in self._connection.all(_SQL["alarms_up"])]

    def latest_alarms(self, most: int) -> Sequence[Alarm]:
        """Return the latest alarms, those that have ended too, newest first."""
        return [_alarm_of(row) for row in self._connection.all(_SQL["latest_alarms"], most=most)]

    def raise_alarm(
        self, kind: AlarmKind, subject: str, facts: Mapping[str, str], channels: Collection[str]
    ) -> bool:
        """Note that something is wrong, and who is to be told; return whether that is new.

        Of one that is up already, only ``facts`` change.
        """
        told = json.dumps(dict(facts), sort_keys=True)
        up = self._connection.one(_SQL["alarm_up"], kind=str(kind), subject=subject)
        if up is not None and up["facts_json"] == told:
            return False
        with self._connection.transaction() as connection:
            raised = connection.run(
                _SQL["raise_alarm"],
                kind=str(kind), subject=subject, facts=told, now=connection.now(),
            )  # fmt: skip
            up = connection.one(_SQL["alarm_up"], kind=str(kind), subject=subject)
            assert up is not None
            if raised:
                _post(connection, up["id"], RISEN, channels)
            else:
                connection.run(_SQL["refresh_alarm"], id=up["id"], facts=told)
        return bool(raised)

    def end_alarm(self, alarm_id: int, channels: Collection[str]) -> bool:
        """Note that an alarm is over, and who is to be told; return whether that is new."""
        with self._connection.transaction() as connection:
            ended = connection.run(_SQL["end_alarm"], id=alarm_id, now=connection.now())
            if ended:
                _post(connection, alarm_id, ENDED, channels)
        return bool(ended)

    def first_notice(self, channel: str) -> AlarmNotice | None:
        """Return what a channel has to tell first, in the order in which it happened, if now."""
        row = self._connection.one(
            _SQL["first_notice"], channel=channel, now=self._connection.now()
        )
        if row is None:
            return None
        return AlarmNotice(row["notice_id"], _alarm_of(row), row["what"], row["attempts"])

    def notice_ended(self, notice_id: int) -> None:
        """Forget a notice that was told, or is given up."""
        with self._connection.transaction() as connection:
            connection.run(_SQL["forget_notice"], id=notice_id)

    def notice_postponed(self, notice_id: int, seconds: float) -> None:
        """Tell it again in so many seconds; what comes behind it waits."""
        with self._connection.transaction() as connection:
            later = text_of(connection.moment() + timedelta(seconds=seconds))
            connection.run(_SQL["postpone_notice"], id=notice_id, next=later)

    def untold(self) -> Mapping[str, int]:
        """Return how many notices wait, by channel."""
        rows = self._connection.all(_SQL["untold_notices"])
        return {row["channel"]: row["number"] for row in rows}

    def only_channels(self, channels: Collection[str]) -> None:
        """Forget what other channels had to tell: they are configured no more."""
        if set(self.untold()) <= set(channels):
            return
        with self._connection.transaction() as connection:
            connection.run(_SQL["forget_other_channels"], known=json.dumps(sorted(channels)))

    def forget_alarms(self, days: float) -> int:
        """Forget alarms that ended longer ago; return how many."""
        old = text_of(self._connection.moment() - timedelta(days=days))
        if self._connection.one(_SQL["any_old_alarm"], old=old) is None:
            return 0
        with self._connection.transaction() as connection:
            return connection.run(_SQL["forget_old_alarms"], old=old)


def _post(connection: Connection, alarm_id: int, what: str, channels: Collection[str]) -> None:
    for channel in channels:
        connection.run(
            _SQL["post_notice"], alarm=alarm_id, what=what, channel=channel, now=connection.now()
        )


def _alarm_of(row: Row) -> Alarm:
    return Alarm(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject"],
        facts=json.loads(row["facts_json"]),
        risen_at=datetime.fromisoformat(row["risen_at"]),
        ended_at=datetime.fromisoformat(row["ended_at"]) if row["ended_at"] else None,
    )
