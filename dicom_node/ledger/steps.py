"""What every change of the ledger has in common: transitions, leases, events.

Generic over the three tables whose rows have states and leases: so its SQL is put together here.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from dicom_node.errors import LeaseLost, RowMissing, TransitionRefused
from dicom_node.ledger.connection import Connection, Row, text_of
from dicom_node.records import (
    DELIVERY_TRANSITIONS,
    INSTANCE_TRANSITIONS,
    STUDY_TRANSITIONS,
    is_retraction,
)

_S = TypeVar("_S", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class LeasedTable:
    """A table whose rows have states and leases. ``transitions``: state to states, as text."""

    table: str
    noun: str
    transitions: Mapping[str, Set[str]]


def _kind(table: str, noun: str, transitions: Mapping[_S, Set[_S]]) -> LeasedTable:
    # A StrEnum member is the text that the row holds.
    return LeasedTable(table, noun, {start: frozenset(ends) for start, ends in transitions.items()})


INSTANCES = _kind("instances", "instance", INSTANCE_TRANSITIONS)
STUDIES = _kind("studies", "study", STUDY_TRANSITIONS)
DELIVERIES = _kind("deliveries", "delivery", DELIVERY_TRANSITIONS)

OF_A_WORKER = "lease_owner = :worker"
OF_NOBODY_KNOWN = "lease_owner not in (select token from workers)"
"""Whose leases `orphan` ends."""


def required(connection: Connection, kind: LeasedTable, row_id: int) -> Row:
    """Return the row. Raises `RowMissing`."""
    row = connection.one(f"select * from {kind.table} where id = :id", id=row_id)  # noqa: S608
    if row is None:
        raise RowMissing(f"There is no {kind.noun} {row_id}.")
    return row


def held(connection: Connection, kind: LeasedTable, row_id: int, worker: str) -> Row:
    """Return the row if ``worker`` holds its lease. Raises `RowMissing` and `LeaseLost`."""
    row = required(connection, kind, row_id)
    if row["lease_owner"] != worker:
        raise LeaseLost(f"{worker} no longer holds {kind.noun} {row_id}.")
    return row


def move(
    connection: Connection,
    kind: LeasedTable,
    row: Row,
    target: StrEnum,
    *,
    worker: str | None = None,
    detail: str | None = None,
    **values: object,
) -> None:
    """Move a row to ``target``, give its lease back, forget its attempts, set ``values``.

    One conditional statement: nothing moves unless the row is, now, in a state from which it may,
    and held by ``worker`` where one is named. The event tells ``detail``, or else the reason.
    Raises `RowMissing`, `LeaseLost`, and `TransitionRefused` where the table of `records.py` does
    not have the transition.
    """
    values = {"attempts": 0, "reason": None} | values
    changes = ", ".join(f"{name} = :{name}" for name in values)
    starts = sorted(start for start, ends in kind.transitions.items() if target in ends)
    places = ", ".join(f":from_{number}" for number in range(len(starts)))
    moved = connection.run(
        f"update {kind.table} set state = :state, lease_owner = null, lease_until = null,"  # noqa: S608
        f" {changes} where id = :id and state in ({places})"
        + (" and lease_owner = :worker" if worker is not None else ""),
        id=row["id"],
        state=str(target),
        **({} if worker is None else {"worker": worker}),
        **{f"from_{number}": str(start) for number, start in enumerate(starts)},
        **values,
    )
    if not moved:
        _say_why_not(connection, kind, row["id"], target, worker)
    record(connection, kind, row, str(target), detail or values["reason"])


def retraction_of(study: Row) -> str | None:
    """Return who took a study's present results back, as its reason says it; None if nobody did.

    It stays until other results are written: a study is opened for many causes.
    """
    reason: str | None = study["reason"]
    return reason if is_retraction(reason) else None


def _say_why_not(
    connection: Connection, kind: LeasedTable, row_id: int, target: StrEnum, worker: str | None
) -> None:
    """Raise what kept a row from moving to ``target``."""
    row = required(connection, kind, row_id) if worker is None else held(
        connection, kind, row_id, worker
    )  # fmt: skip
    raise TransitionRefused(
        f"The {kind.noun} {row_id} is {row['state']} and cannot become {target}."
    )


def record(
    connection: Connection, kind: LeasedTable, row: Row, what: str, detail: object = None
) -> None:
    """Write the event that belongs to a change of ``row``."""
    connection.insert(
        "events",
        at=connection.now(),
        what=f"{kind.noun}.{what}",
        who=connection.who,
        instance_id=row["id"] if kind is INSTANCES else None,
        study_id=row["id"] if kind is STUDIES else row["study_id"],
        delivery_id=row["id"] if kind is DELIVERIES else None,
        detail=None if detail is None else str(detail),
    )
    connection.touch(row["id"] if kind is STUDIES else row["study_id"])


def give_back(connection: Connection, worker: str) -> None:
    """Free every row that ``worker`` holds, as if it had not been claimed."""
    for kind in (INSTANCES, STUDIES, DELIVERIES):
        connection.run(
            f"update {kind.table} set lease_owner = null, lease_until = null,"  # noqa: S608
            " attempts = max(attempts - 1, 0) where lease_owner = :worker",
            worker=worker,
        )


def renew(connection: Connection, worker: str, lease_seconds: float) -> None:
    """Let every lease of ``worker`` last so long from now."""
    until = text_of(connection.moment() + timedelta(seconds=lease_seconds))
    for kind in (INSTANCES, STUDIES, DELIVERIES):
        connection.run(
            f"update {kind.table} set lease_until = :until where lease_owner = :worker",  # noqa: S608
            until=until,
            worker=worker,
        )


def orphan(connection: Connection, whose: str, **values: object) -> int:
    """End now the leases that meet ``whose``; their attempts stay counted. Return how many."""
    ended = 0
    for kind in (INSTANCES, STUDIES, DELIVERIES):
        ended += connection.run(
            f"update {kind.table} set lease_until = :now"  # noqa: S608
            f" where lease_owner is not null and lease_until > :now and {whose}",
            now=connection.now(),
            **values,
        )
    return ended
