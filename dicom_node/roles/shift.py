"""One worker of a role: what it works with, and the loop that every role has in common.

A fault of the house ends no worker: what it had taken is given back uncounted, it waits with
growing pauses, tells once, and goes on (`dicom_node.patience`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dicom_node.errors import Unavailable
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.heart import Heart
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Worker
from dicom_node.roles.process import opened
from dicom_node.settings import Configuration
from dicom_node.spool import Spool

_IDLE_SECONDS = 0.5
_LOOK_SECONDS, _LOOK_BUSY_SECONDS, _BUSY_SECONDS = 0.05, 0.01, 2.0
"""How often a worker without work looks whether the ledger has changed, also soon after work."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A worker at work: its stores, its name in the ledger, its log and its sign of life."""

    role: str
    configuration: Configuration
    stop: threading.Event
    ledger: SqliteLedger
    spool: Spool
    worker: str
    """Its token, which owns its leases."""

    log: Log
    patience: Patience
    heart: Heart

    def work(
        self,
        tasks: Mapping[str, Callable[[], object]],
        *,
        idle_seconds: float = _IDLE_SECONDS,
        detail: str | None = None,
        going_on: Callable[[], bool] = lambda: True,
        drain: Callable[[], object] | None = None,
        **facts: object,
    ) -> None:
        """Do the tasks in turn until asked to stop, or ``going_on`` says no.

        A task returns whether it found something to do; where none did, there is a pause, which
        ends early where the ledger changes: what one role has done is the next one's work. At the
        end everything is given back. ``drain``: ends, or waits for, what the role does in threads
        of its own; what those hold is not given back because a task met a fault. ``facts`` are told
        with the start.
        """
        self.log.event("role.started", pid=os.getpid(), sqlite=self.ledger.sqlite_version, **facts)
        give_back = self.give_back if drain is None else None
        worked_at = -_BUSY_SECONDS
        while not self.stop.is_set() and going_on():
            self.heart.beat("working", detail)
            before = self._version() if tasks else None
            found = [self.patience.attempt(name, task, give_back)
                     for name, task in tasks.items()]  # fmt: skip
            now = time.monotonic()
            if any(found):
                worked_at = now
                continue
            is_busy = now - worked_at < _BUSY_SECONDS
            self._rest(before, idle_seconds, _LOOK_BUSY_SECONDS if is_busy else _LOOK_SECONDS)
        if drain is not None:
            self.heart.beat("stopping", detail)
            drain()
        self.patience.attempt("giving back", self.give_back)
        self.heart.beat("stopped")

    def _rest(self, before: tuple[int, int] | None, seconds: float, look_seconds: float) -> None:
        """Wait so long, or until the ledger is no longer as it was ``before``, or the stop.

        A look costs some microseconds, so that idle workers cost a machine next to nothing.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stop.wait(left if before is None else min(left, look_seconds)):
                return
            if before is not None and self._version() != before:
                return

    def _version(self) -> tuple[int, int] | None:
        # A ledger that cannot be read is told of by the tasks themselves.
        with suppress(Unavailable):
            return self.ledger.version()
        return None

    def give_back(self) -> None:
        """Free what this worker holds, as if it had not been claimed."""
        self.ledger.release(self.worker)


def shift(
    worker: Worker, configuration: Configuration, stop: threading.Event, *, reserve_bytes: int = 0
) -> Shift | None:
    """Return a worker of a role with its stores open; None where ``stop`` came first."""
    log = Log(worker.role)
    patience = Patience(log)
    ledger = opened(configuration, worker.role, stop, patience)
    spool = patience.until(
        "the spool", lambda: Spool(configuration.spool_path, reserve_bytes=reserve_bytes), stop
    )
    if ledger is None or spool is None:
        return None
    return Shift(
        worker.role, configuration, stop, ledger, spool, worker.token, log, patience,
        Heart(ledger, worker, patience),
    )  # fmt: skip
