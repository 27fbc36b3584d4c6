"""Durations in a ledger that outlives processes and boots, whatever becomes of the clock.

Rows hold times of the clock on the wall, which may be set (NTP after boot, a virtual machine that
was suspended, a person). The machine has a second clock that nobody sets. The ledger remembers how
far the first stood ahead of the second; where that is no longer so, the clock was set, and every
time from which a duration is measured is moved along: leases, pauses, quiet studies, signs of life,
sessions. Whoever reads or writes such a time asks first, so that no process acts on the old ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_node.ledger.connection import Connection

Steady = Callable[[], tuple[str, float]]
"""Names the boot, and tells its seconds so far by a clock that is never set."""

STEP_SECONDS = 1.0
"""What differs by less is no step; clocks that are slewed run alike."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_WAITING = "state = 'waiting' and held is null"
_MOVED = (
    ("studies", "changed_at", "state in ('open', 'quiet')"),
    ("studies", "lease_until", "lease_until is not null"),
    ("instances", "lease_until", "lease_until is not null"),
    ("deliveries", "lease_until", "lease_until is not null"),
    ("deliveries", "next_attempt_at", _WAITING),
    ("deliveries", "expires_at", _WAITING),
    ("workers", "beat_at", "true"),
    ("workers", "started_at", "true"),
    ("sessions", "created_at", "true"),
    ("sessions", "seen_at", "true"),
    ("sign_ins", "tried_at", "true"),
    ("sign_ins", "locked_until", "locked_until is not null"),
    ("role_deaths", "at", "true"),
    ("alarm_notices", "next_attempt_at", "true"),
)
"""Table, column and which rows: each time from which, or until which, a duration is measured."""


def steady() -> tuple[str, float]:
    """Return the boot's id and the seconds since then, those of a suspended machine too."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return boot, time.clock_gettime(_CLOCK)


def moved(text: str, seconds: float) -> str:
    """Return a time of the ledger so many seconds later; SQLite calls it as ``moved``."""
    try:
        moment = datetime.fromisoformat(text) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return text
    return moment.isoformat(timespec="microseconds")


def settle(connection: Connection, boot: str, ahead: float, now: str) -> float:
    """Move the ledger's times to where the clock stands; return by how many seconds.

    ``ahead``: by how much the clock on the wall is ahead of the steady one. Across a boot only a
    clock that went back is known to be wrong: the machine may have been off for any time.
    """
    known = connection.one("select boot, ahead from clock")
    if known is None:
        step = 0.0
    elif known["boot"] == boot:
        step = ahead - known["ahead"]
    else:
        step = min(_since_last_beat(connection, now), 0.0)
    if abs(step) >= STEP_SECONDS:
        for table, column, which in _MOVED:
            connection.run(
                f"update {table} set {column} = moved({column}, :step) where {which}",  # noqa: S608
                step=step,
            )
        connection.insert(
            "events", at=now, what="clock.set", who=connection.who, detail=f"{step:+.1f} s"
        )
    connection.run(
        "insert into clock (id, boot, ahead) values (1, :boot, :ahead)"
        " on conflict do update set boot = :boot, ahead = :ahead",
        boot=boot,
        ahead=ahead,
    )
    return step


def _since_last_beat(connection: Connection, now: str) -> float:
    row = connection.one("select max(beat_at) as at from workers")
    if row is None or row["at"] is None:
        return 0.0
    return (datetime.fromisoformat(now) - datetime.fromisoformat(row["at"])).total_seconds()
