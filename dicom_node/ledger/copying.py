"""A whole and consistent copy of the ledger, made while others write to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # pysqlite3 if it is there

from dicom_node.errors import LedgerUnavailable, SchemaTooNew
from dicom_node.ledger.migrations import is_current
from dicom_node.ledger.opening import BUSY_SECONDS, DAMAGED_REMEDY, unavailable
from dicom_node.ledger.statements import statements
from dicom_node.records import Digest

_SQL = statements("restoring")
_PAGES = 1024
"""So many are copied between two words of progress."""

Progress = Callable[[int, int], None]
"""Is told what is done and how much there is."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy of the ledger knows. ``step``: the last change of its schema; ``at``: its latest
    event, UTC.
    """

    step: str
    at: str
    studies: int
    instances: int
    waiting: int


def copy_ledger(source: Path, target: Path, progress: Progress) -> None:
    """Copy the ledger into a new file, as it is at this moment, and read the copy through.

    Nobody waits for it: what is written meanwhile is not in the copy. Raises `LedgerUnavailable`.
    """
    with unavailable(f"The ledger {source} cannot be copied", source):
        with closing(_opened(source)) as reading, closing(_new(target)) as copy:
            # One snapshot until the end: else each change of another process begins the copy anew.
            reading.execute("begin")
            reading.execute(_SQL["latest_step"]).fetchone()
            reading.backup(
                copy,
                pages=_PAGES,
                progress=lambda _status, left, of: progress(of - left, of),
            )
            reading.execute("rollback")
            # One file, that nothing has to lie beside.
            copy.execute("pragma journal_mode=delete")
        check_ledger(target)
        _sync(target)


def check_ledger(path: Path) -> None:
    """Read a ledger through that nobody uses. Raises `LedgerUnavailable` where it is damaged."""
    with unavailable(f"The ledger {path} cannot be read", path), closing(_opened(path)) as reading:
        (answer,) = reading.execute("pragma quick_check(1)").fetchone()
    if answer != "ok":
        raise LedgerUnavailable(f"The ledger {path} is damaged.", remedy=DAMAGED_REMEDY)


def what_it_knows(path: Path) -> Copied:
    """Return how much a ledger knows that nobody writes to. Raises `LedgerUnavailable`."""
    with unavailable(f"The ledger {path} cannot be read", path), closing(_opened(path)) as reading:
        (step,) = reading.execute(_SQL["latest_step"]).fetchone()
        (at,) = reading.execute(_SQL["newest_change"]).fetchone()
        counts = reading.execute(_SQL["counts_to_back_up"]).fetchone()
    return Copied(str(step), str(at or ""), *map(int, counts))


def is_of_this_release(path: Path) -> bool:
    """Whether a ledger has the schema of this release; opening it would not change it then.

    Raises `LedgerUnavailable`.
    """
    with unavailable(f"The ledger {path} cannot be read", path), closing(_opened(path)) as reading:
        try:
            return is_current(Database(reading))
        except SchemaTooNew:
            return False


def named_files(path: Path) -> Iterator[Digest]:
    """Yield the digest of every file that a ledger names. Raises `LedgerUnavailable`."""
    with unavailable(f"The ledger {path} cannot be read", path), closing(_opened(path)) as reading:
        for (digest,) in reading.execute(_SQL["named_files"]):
            yield Digest(digest)


def _opened(path: Path) -> Any:
    # Never made: a path that was mistyped would be a new and empty one.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def _new(path: Path) -> Any:
    path.touch(mode=0o600, exist_ok=False)
    return sqlite3.connect(path, isolation_level=None)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
