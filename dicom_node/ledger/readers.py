"""Connections for reading alone: a page does not wait for a transaction of its own process.

SQLite in WAL mode lets as many read as want while one writes; one connection does one thing at a
time. So whoever reads outside a transaction borrows a connection that nobody uses, and gives it
back. They belong to no thread: none has to be closed when a thread ends, and the number of open
files has a bound.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # pysqlite3 if it is there

MOST = 8
"""So many read at a time, each with two open files and up to 2 MB of pages; others wait for one."""


class Readers:
    """The connections for reading of one ledger. ``busy_seconds``: see `open_ledger`."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._free = threading.Semaphore(MOST)
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._is_closed = False

    @contextmanager
    def borrowed(self) -> Iterator[Any]:
        """Lend a connection for a block. One at which something failed is not lent again.

        Raises `sqlite3.Error` where none can be opened, and after `close`.
        """
        with self._free:
            reader = self._taken()
            try:
                yield reader
            except BaseException:
                reader.close()
                raise
            self._give_back(reader)

    def close(self) -> None:
        """Close those that nobody uses now, and the others as soon as they are given back."""
        with self._lock:
            self._is_closed, idle, self._idle = True, self._idle, []
        for reader in idle:
            reader.close()

    def _taken(self) -> Any:
        with self._lock:
            if self._is_closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            # The last that was used knows most pages.
            if self._idle:
                return self._idle.pop()
        return self._opened()

    def _give_back(self, reader: Any) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(reader)
                return
        reader.close()

    def _opened(self) -> Any:
        # Not made where there is none: whoever writes has made it.
        reader = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw", uri=True,
            timeout=self._busy_seconds, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        try:
            reader.row_factory = sqlite3.Row
            reader.execute("pragma query_only=on")
        except BaseException:
            with suppress(sqlite3.Error):
                reader.close()
            raise
        return reader
