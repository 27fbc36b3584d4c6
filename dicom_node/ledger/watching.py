"""The ledger as the monitor sees it: what was counted, what waits, what died, what ails.

Counts are made from the events, by one process and once each: which event was counted last stands
beside them, changed in the same transaction. So no restart resets or doubles them, and whoever
receives, analyses or sends pays nothing for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.ledger.part import Part
from dicom_node.ledger.statements import statements
from dicom_node.records import Ailment, AlarmKind, Queue, StageTimes

OTHER_TITLES = "other"
"""Stands for AE titles that the AE table does not have."""

STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Seconds: the steps of the histograms."""

LAST_STEP = 1e308
"""Stands for "or longer"."""

_SQL = statements("watching")
_STAGES = {
    "instance.admitted": "admit",
    "instance.analysed": "analyse",
    "study.reported": "report",
    "delivery.sent": "send",
}
_WHOLE = "whole"
_FILMS_LOOKED_AT = 100
_DEATHS_KEPT = timedelta(days=1)
_FILM_QUEUES = (
    ("intake", "received", "instance.received"),
    ("analyse", "admitted", "instance.admitted"),
)


class Watching(Part):
    """What a monitor tells."""

    def count_events(self, known: Collection[str], limit: int = 2000) -> int:
        """Count what has happened since the last call, ``limit`` events at most; return how many.

        AE titles that are not ``known`` are counted together, as `OTHER_TITLES`.
        """
        # Read first: mostly nothing has happened, and no lock is taken to learn that.
        if self._connection.one(_SQL["any_uncounted_event"]) is None:
            return 0
        with self._connection.transaction(durable=False) as connection:
            connection.run(_SQL["begin_counting_anew"])
            rows = connection.all(_SQL["uncounted_events"], most=limit)
            if not rows:
                return 0
            _add(connection, Counter(_counted(row, known) for row in rows))
            _add_times(connection, rows)
            connection.run(_SQL["note_counted"], id=rows[-1]["id"])
        return len(rows)

    def add_totals(self, counts: Mapping[tuple[str, str], int], levels: Mapping[str, int]) -> None:
        """Add to what was counted, by what and of whom; set ``levels``, which go down too."""
        with self._connection.transaction(durable=False) as connection:
            _add(connection, counts)
            for what, number in levels.items():
                connection.run(_SQL["set_level"], what=what, subject="", number=number)

    def totals(self) -> Mapping[tuple[str, str], int]:
        """Return what was counted so far, by what and of whom."""
        rows = self._connection.all(_SQL["totals"])
        return {(row["what"], row["subject"]): row["number"] for row in rows}

    def stage_times(self) -> Sequence[StageTimes]:
        """Return how long each stage took so far, each step of its histogram, the least first."""
        rows = self._connection.all(_SQL["stage_times"])
        return [StageTimes(*(row[key] for key in row.keys())) for row in rows]  # noqa: SIM118

    def uncounted(self, most: int = 100_000) -> int:
        """Return how many events `count_events` has not seen yet, ``most`` at most."""
        return self._number("uncounted", most=most)

    def queues(self) -> Sequence[Queue]:
        """Return what waits for the roles intake, analyse and report."""
        films = [
            self._queue(
                role, f"instances.{state}",
                self._connection.one(
                    _SQL["first_films"], state=state, what=what, most=_FILMS_LOOKED_AT
                ),
            )
            for role, state, what in _FILM_QUEUES
        ]  # fmt: skip
        quiet = self._connection.one(_SQL["first_study"])
        return [*films, self._queue("report", "studies.quiet", quiet)]

    def outbox_queues(self) -> Sequence[Queue]:
        """Return what waits for each destination; what is held for a person does not wait."""
        waiting = {
            destination: number
            for (destination, state), number in self.deliveries_by_destination().items()
            if state == "waiting"
        }
        oldest = {
            row["destination"]: (_moment(row["since"]), bool(row["failing"]))
            for row in self._connection.all(_SQL["first_deliveries"])
        }
        return [
            Queue(name, number, *oldest.get(name, (None, False)))
            for name, number in sorted(waiting.items())
        ]

    def deliveries_by_destination(self) -> Mapping[tuple[str, str], int]:
        """Return how many deliveries are in each state, by destination and state."""
        rows = self._connection.all(_SQL["deliveries_by_destination"])
        return {(row["destination"], row["state"]): row["number"] for row in rows}

    def parked_by_destination(self, most: int = 1000) -> Mapping[str, int]:
        """Return how many deliveries each destination did not take, ``most`` at most of each."""
        rows = self._connection.all(_SQL["parked_by_destination"], most=most)
        return {row["destination"]: row["number"] for row in rows}

    def quarantined_films(self, most: int = 1000) -> int:
        """Return how many films stopped their worker twice, ``most`` at most."""
        return self._number("quarantined_films", most=most)

    def last_received(self) -> datetime | None:
        """Return when anybody sent something last."""
        row = self._connection.one(_SQL["last_received"])
        return None if row is None else _moment(row["at"])

    def deaths(self, seconds: float) -> Mapping[str, int]:
        """Return how often processes of each role died in the last so many seconds."""
        since = text_of(self._connection.moment() - timedelta(seconds=seconds))
        rows = self._connection.all(_SQL["deaths_since"], since=since)
        return {row["role"]: row["number"] for row in rows}

    def found(self, kind: AlarmKind, subject: str, reason: str | None) -> None:
        """Note what was found; ``reason`` None: nothing is wrong. No patient data."""
        with self._connection.transaction() as connection:
            connection.run(
                _SQL["note_ailment"],
                kind=str(kind), subject=subject, reason=reason, now=connection.now(),
            )  # fmt: skip

    def found_only(self, kind: AlarmKind, subjects: Collection[str]) -> None:
        """Forget what was found of others: they are looked at no more."""
        known = json.dumps(sorted(subjects))
        with self._connection.transaction() as connection:
            connection.run(_SQL["forget_ailments"], kind=str(kind), known=known)

    def ailments(self) -> Sequence[Ailment]:
        """Return what was found of everything at its last look."""
        rows = self._connection.all(_SQL["ailments"])
        return [
            Ailment(row["kind"], row["subject"], row["reason"], datetime.fromisoformat(row["at"]))
            for row in rows
        ]

    def _number(self, name: str, **values: object) -> int:
        row = self._connection.one(_SQL[name], **values)
        assert row is not None
        return int(row["number"])

    def _queue(self, role: str, counted: str, oldest: Row | None) -> Queue:
        since = None if oldest is None else _moment(oldest["since"])
        thing, _, state = counted.partition(".")
        waiting = self._number("rows_in_state", thing=thing, state=state)
        return Queue(role, waiting, since if waiting else None)


def note_death(connection: Connection, role: str) -> None:
    """Note that a process of a role has died, and count it."""
    connection.run(_SQL["note_death"], role=role, now=connection.now())
    old = text_of(connection.moment() - _DEATHS_KEPT)
    connection.run(_SQL["forget_deaths"], old=old)
    _add(connection, {("role.died", role): 1})


def _add(connection: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    for (what, subject), number in counts.items():
        connection.run(_SQL["add_to_total"], what=what, subject=subject, number=number)


def _counted(row: Row, known: Collection[str]) -> tuple[str, str]:
    """Return under what an event is counted, and of whom: of few, whatever strangers call."""
    what = str(row["what"])
    if what == "instance.failed":
        aside = (row["detail"] or "").startswith("quarantined:")
        return ("instance.quarantined" if aside else what), ""
    title = row["sender"] or row["destination"]
    if title is None:
        return what, ""
    return what, title if title in known else OTHER_TITLES


def _add_times(connection: Connection, rows: Sequence[Row]) -> None:
    number, seconds = Counter[tuple[str, float]](), Counter[tuple[str, float]]()
    for row in rows:
        for stage, since in (
            (_STAGES.get(row["what"]), row["since"]),
            (_WHOLE, row["whole_since"]),
        ):
            if stage is None or since is None:
                continue
            took = _seconds(since, row["at"])
            step = (stage, next((step for step in STEPS if took <= step), LAST_STEP))
            number[step] += 1
            seconds[step] += took  # type: ignore[assignment]
    for (stage, at_most), many in number.items():
        connection.run(
            _SQL["add_to_stage"],
            stage=stage, at_most=at_most, number=many, seconds=float(seconds[stage, at_most]),
        )  # fmt: skip


def _seconds(since: str, until: str) -> float:
    # A clock that was set back between the two makes no stage shorter than nothing.
    took = datetime.fromisoformat(until) - datetime.fromisoformat(since)
    return max(took.total_seconds(), 0.0)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
