"""How the ledger's file is opened, and what is said where SQLite fails at it or later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # pysqlite3 if it is there

from dicom_node.errors import LedgerUnavailable, SqliteAffected
from dicom_node.ledger.ballast import drop_ballast
from dicom_node.ledger.clock import moved

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process before it gives up."""

_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 3))
"""From (inclusive) and to (exclusive): several writers can lose commits when the WAL is reset."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.25

DAMAGED_REMEDY = (
    "Stop the node and restore the ledger from a backup: `dicom-node restore BACKUP`; without one,"
    " `dicom-node restore --from-spool` takes the stored films in again, and answers their senders."
    " Either keeps the damaged ledger aside."
)
_MISREAD_REMEDY = (
    "The ledger was misread once and is whole: the node goes on by itself. Check the disk of"
    " data_dir and the system log of this machine."
)
_MISREAD = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "Free disk space in data_dir; the ledger goes on by itself.",
    sqlite3.SQLITE_READONLY: "Check the mount, owner and permissions of data_dir.",
    sqlite3.SQLITE_CANTOPEN: "Check the mount, owner and permissions of data_dir.",
    sqlite3.SQLITE_IOERR: "Check the disk of data_dir and the system log of this machine.",
}


def refuse_affected(version: tuple[int, ...]) -> None:
    """Raise `SqliteAffected` if this SQLite loses commits of several writing processes."""
    first, fixed = _WAL_RESET_BUG
    if first <= version < fixed:
        raise SqliteAffected(
            f"SQLite {'.'.join(map(str, version))} can lose commits when several processes write."
        )


def _is_damaged(path: Path) -> bool:
    """Return whether SQLite, reading the whole file anew, says that it is damaged."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _MISREAD
    return bool(answer != "ok")


def opened(path: Path, busy_seconds: float) -> Any:
    """Return a connection to the ledger at ``path``, which is made if there is none.

    Raises `sqlite3.Error` and `OSError`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # SQLite gives the files beside it (-wal, -shm) the same permissions.
        path.touch(mode=0o600)
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.create_function("moved", 2, moved, deterministic=True)
    return connection


def write_ahead(connection: Any, busy_seconds: float) -> None:
    """Let the ledger be written ahead (WAL), also where others open it at this moment.

    Of processes that make a new ledger together one changes its mode; SQLite tells the others at
    once that it is locked, whatever its busy time-out.
    """
    pause, last = _FIRST_PAUSE_SECONDS, time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("pragma journal_mode=wal")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() + pause > last:
                raise
        else:
            return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


@contextmanager
def unavailable(what: str, path: Path) -> Iterator[None]:
    """Raise `LedgerUnavailable`, with what mends it, in place of what SQLite and the disk raise."""
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDIES.get(primary)
        if primary == sqlite3.SQLITE_FULL:
            drop_ballast(path)
        if primary in _MISREAD:
            # One failed read of the disk looks the same: nobody restores a backup because of it.
            remedy = DAMAGED_REMEDY if _is_damaged(path) else _MISREAD_REMEDY
        raise LedgerUnavailable(f"{what}: {error}.", remedy=remedy) from error
    except OSError as error:
        raise LedgerUnavailable(
            f"{what}: {error.strerror}.", remedy=_REMEDIES[sqlite3.SQLITE_CANTOPEN]
        ) from error
