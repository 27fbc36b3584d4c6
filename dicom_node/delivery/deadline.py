"""A time limit for sending one object: a PACS may be slow, but neither silent nor endless.

pynetdicom counts its DIMSE time-out from the moment an object is *queued*: a slow line would never
get a large object through, and the abort that follows waits behind the rest of it (fault 79). Here
the clock starts again with every PDU that leaves, and while the kernel gets rid of what it holds of
them (4 MB by default: a minute on a slow line); at its end it stops the connection itself.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pynetdicom import evt
from pynetdicom.association import Association

SLOWEST_BYTES_PER_SECOND = 65_536
"""A line that carries less than this (half a megabit a second) is not waited for."""

_RESERVE_SECONDS = 5.0
_LOOKS = 4
"""How often the kernel is asked within the time that the peer may be silent."""


def longest_seconds(size_bytes: int, answer_seconds: float) -> float:
    """Return how long sending an object and waiting for its answer may take in all."""
    return answer_seconds + size_bytes / SLOWEST_BYTES_PER_SECOND


class Deadline:
    """Ends ``association`` after ``silent_seconds`` without progress, or ``total_seconds`` in all.

    ``expired`` tells afterwards whether it did.
    """

    def __init__(
        self, association: Association, silent_seconds: float, total_seconds: float
    ) -> None:
        self.expired = False
        self._association = association
        self._silent_seconds = silent_seconds
        self._progress_at = time.monotonic()
        self._last_end = self._progress_at + total_seconds

    def progress(self, _event: evt.Event) -> None:
        """Note that a PDU has left: bound to ``EVT_PDU_SENT``."""
        self._progress_at = time.monotonic()

    def watch(self, done: threading.Event) -> None:
        """Wait until ``done``, or until time is up; then cut the connection."""
        queued = 0
        while not done.is_set():
            before, queued = queued, _queued_bytes(self._association)
            if queued < before:
                self._progress_at = time.monotonic()
            left = min(self._progress_at + self._silent_seconds, self._last_end) - time.monotonic()
            if left <= 0:
                self.expired = True
                _cut(self._association)
                return
            done.wait(min(left, self._silent_seconds / _LOOKS))


@contextmanager
def limited(
    association: Association, silent_seconds: float, total_seconds: float
) -> Iterator[Deadline]:
    """Run a block that sends one object under a `Deadline`."""
    deadline = Deadline(association, silent_seconds, total_seconds)
    done = threading.Event()
    # The library's own time-out is only a reserve: it must not be first.
    association.dimse_timeout = total_seconds + _RESERVE_SECONDS
    association.bind(evt.EVT_PDU_SENT, deadline.progress)
    watcher = threading.Thread(target=deadline.watch, args=(done,), daemon=True)
    watcher.start()
    try:
        yield deadline
    finally:
        done.set()
        watcher.join()
        association.unbind(evt.EVT_PDU_SENT, deadline.progress)


def _connection(association: Association) -> socket.socket | None:
    wrapper = association.dul.socket
    return wrapper.socket if wrapper is not None else None


def _queued_bytes(association: Association) -> int:
    """Return how much the kernel holds that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
    connection = _connection(association)
    # It may be closed already: then there is nothing left to send.
    with suppress(OSError, ValueError):
        if connection is not None:
            answer = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
            return int(struct.unpack("i", answer)[0])
    return 0


def _cut(association: Association) -> None:
    connection = _connection(association)
    if connection is not None:
        # It may be closed already: then there is nothing left to cut.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
