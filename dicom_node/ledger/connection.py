"""The SQLite connection of a process: WAL, each change one transaction, durable or not.

A commit with ``synchronous=full`` is on the disk before it returns. One with ``normal`` is written
to the WAL behind all earlier ones, which a kill of the process does not undo; the next full commit
of any process syncs it, and a power cut before takes it back, and nothing that came before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # pysqlite3 if it is there

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger.clock import STEP_SECONDS, Steady, settle
from dicom_node.ledger.clock import steady as machine_steady
from dicom_node.ledger.migrations import is_current, migrate
from dicom_node.ledger.opening import (
    BUSY_SECONDS,
    DAMAGED_REMEDY,
    opened,
    refuse_affected,
    unavailable,
    write_ahead,
)
from dicom_node.ledger.readers import Readers

Row = Mapping[str, Any]
Clock = Callable[[], datetime]

_LOOKS = 10
_FULL, _NORMAL = "full", "normal"


def utc_now() -> datetime:
    """Return the present time, aware, UTC."""
    return datetime.now(UTC)


def text_of(moment: datetime) -> str:
    """Return ``moment`` as the ledger writes it: UTC, microseconds always there, sortable."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


class Connection:
    """The connection by which this process writes, shared by its threads, one at a time.

    Whoever reads in a transaction reads by it too, and sees what the transaction has changed; who
    reads outside one has a connection for reading (`Readers`) and waits for no transaction.

    ``who`` goes into every event that this process writes. ``verify`` reads the whole file first
    and refuses a damaged one: for the process that starts the others. ``project``: makes anew what
    is shown of a study, once in each transaction that changed it (`touch`).
    """

    def __init__(
        self,
        path: Path,
        *,
        who: str,
        clock: Clock = utc_now,
        steady: Steady | None = None,
        busy_seconds: float = BUSY_SECONDS,
        verify: bool = False,
        project: Callable[[Connection, int], None] | None = None,
    ) -> None:
        refuse_affected(sqlite3.sqlite_version_info)
        self.who = who
        self._path = path
        self._clock = clock
        # A test's clock is as steady as the test lets it be.
        real = clock is utc_now
        self._steady = steady or (machine_steady if real else lambda: ("", clock().timestamp()))
        self._is_ready = False
        self._synchronous = ""
        self._settled: tuple[str, float] | None = None
        self._project = project
        self._touched: dict[int, None] = {}
        self._lock = threading.RLock()
        self._holder: int | None = None
        self._readers = Readers(path, busy_seconds)
        with unavailable(f"The ledger {path} cannot be opened", path):
            self._sqlite = opened(path, busy_seconds)
        try:
            with unavailable(f"The ledger {path} cannot be opened", path):
                write_ahead(self._sqlite, busy_seconds)
                self._prepare(path, verify=verify)
        except BaseException:
            self._sqlite.close()
            raise

    def _prepare(self, path: Path, *, verify: bool) -> None:
        self._sqlite.execute("pragma foreign_keys=on")
        self._synchronise(_FULL)
        if verify:
            (answer,) = self._sqlite.execute("pragma quick_check(1)").fetchone()
            if answer != "ok":
                raise LedgerUnavailable(f"The ledger {path} is damaged.", remedy=DAMAGED_REMEDY)
        database = Database(self._sqlite)
        # Most openings find nothing to do and need no lock.
        if not is_current(database):
            with self.transaction():
                migrate(database)
        self._is_ready = True

    @property
    def sqlite_version(self) -> str:
        """Return the version of the SQLite library in use."""
        return str(sqlite3.sqlite_version)

    def now(self) -> str:
        """Return the present time as the ledger writes it."""
        return text_of(self.moment())

    def moment(self) -> datetime:
        """Return the present time, with which the ledger's own times agree; see `clock`."""
        if self._was_set():
            with self._lock:
                if self._sqlite.in_transaction:
                    self._settle()
                else:
                    with self.transaction():
                        pass  # it settles
        return self._clock()

    def _was_set(self) -> bool:
        """Return whether the clock was set since this process looked last, or may have been."""
        now, settled = self._ahead(), self._settled
        if settled is None:
            settled = self._known()
            self._settled = settled
        # Not asked of the attribute again: another thread's failed commit may have emptied it.
        return settled is None or not _agree(settled, now)

    def _settle(self) -> None:
        now, known = self._ahead(), self._known()
        if known is None or not _agree(known, now):
            settle(self, *now, text_of(self._clock()))
            known = now
        self._settled = known

    def _known(self) -> tuple[str, float] | None:
        """Return what the ledger remembers of the clocks, see `clock`."""
        row = self.one("select boot, ahead from clock")
        return None if row is None else (row["boot"], row["ahead"])

    def _ahead(self) -> tuple[str, float]:
        """Return the boot and how far the clock on the wall is ahead of the steady one."""
        for _ in range(_LOOKS):
            boot, before = self._steady()
            wall = self._clock().timestamp()
            _, after = self._steady()
            # Else this process was held up between the looks.
            if after - before < STEP_SECONDS / 10:
                break
        return boot, wall - before

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open (SQLite itself ends it on some errors)."""
        return bool(self._sqlite.in_transaction)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """Run a block as one transaction.

        ``durable``: it outlives a power cut once this returns. Else it may be taken back by one,
        for what is free again by itself then: a claim, a lease, a sign of life.

        ``begin immediate`` takes the write lock first: a deferred transaction of two writers ends
        in "database is locked" in spite of the busy time-out.
        """
        with self._lock, unavailable("The ledger could not commit", self._path):
            # Inside a transaction it cannot be changed.
            self._synchronise(_FULL if durable else _NORMAL)
            self._sqlite.execute("begin immediate")
            self._holder = threading.get_ident()
            try:
                if self._is_ready and self._was_set():
                    self._settle()
                yield self
                if self._project is not None:
                    for study_id in self._touched:
                        self._project(self, study_id)
                self._sqlite.execute("commit")
            except BaseException:
                self._settled = None
                if self._sqlite.in_transaction:
                    self._sqlite.execute("rollback")
                raise
            finally:
                self._holder = None
                self._touched.clear()

    def _synchronise(self, how: str) -> None:
        if how != self._synchronous:
            self._sqlite.execute(f"pragma synchronous={how}")
            self._synchronous = how

    def _outside_durably(self) -> None:
        """Let a change outside a transaction, which is one by itself, be durable."""
        if not self._sqlite.in_transaction:
            self._synchronise(_FULL)

    def touch(self, study_id: int) -> None:
        """Note that a study has changed: what is shown of it is made anew before the commit."""
        self._touched[study_id] = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run a block inside a transaction so that its failure undoes the block alone."""
        with unavailable("The ledger could not commit", self._path):
            self._sqlite.execute("savepoint step")
            try:
                yield
            except BaseException:
                if self._sqlite.in_transaction:
                    self._sqlite.execute("rollback to step")
                    self._sqlite.execute("release step")
                raise
            self._sqlite.execute("release step")

    def run(self, sql: str, **values: object) -> int:
        """Execute one statement and return the number of rows it changed."""
        with self._lock, unavailable("The ledger could not be written", self._path):
            self._outside_durably()
            return int(self._sqlite.execute(sql, values).rowcount)

    def insert(self, table: str, **values: object) -> int:
        """Insert one row and return its id. ``table`` and the keys are names in our own code."""
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        with self._lock, unavailable("The ledger could not be written", self._path):
            self._outside_durably()
            cursor = self._sqlite.execute(
                f"insert into {table} ({names}) values ({places})",  # noqa: S608
                values,
            )
            return int(cursor.lastrowid or 0)

    def one(self, sql: str, **values: object) -> Row | None:
        """Return the first row, or None."""
        with self._reading() as sqlite:
            row: Row | None = sqlite.execute(sql, values).fetchone()
            return row

    def all(self, sql: str, **values: object) -> Sequence[Row]:
        """Return all rows."""
        with self._reading() as sqlite:
            rows: Sequence[Row] = sqlite.execute(sql, values).fetchall()
            return rows

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with unavailable("The ledger could not be read", self._path):
            if self._holder == threading.get_ident():
                yield self._sqlite
            else:
                with self._readers.borrowed() as reader:
                    yield reader

    def version(self) -> tuple[int, int]:
        """Return what differs as soon as anybody has changed the ledger: others, and ourselves.

        Cheap: a few microseconds, and no lock that a writer waits for.
        """
        with self._lock, unavailable("The ledger could not be read", self._path):
            (others,) = self._sqlite.execute("pragma data_version").fetchone()
            return int(others), int(self._sqlite.total_changes)

    def close(self) -> None:
        """Close the connection; a later call of anything else fails."""
        # First: the last to be closed writes the WAL back.
        self._readers.close()
        with self._lock:
            self._sqlite.close()


def _agree(one: tuple[str, float], other: tuple[str, float]) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) < STEP_SECONDS
