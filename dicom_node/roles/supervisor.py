"""Keep the roles running, each as a child process: restart with back-off, drain on SIGTERM."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from dicom_node import logs
from dicom_node.errors import LedgerUnavailable, NodeAlreadyRunning, RoleError, SpoolUnwritable
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.roles.process import EXIT_UNUSABLE, ROLES, worker_name
from dicom_node.settings import Configuration

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_TICK_SECONDS = 0.2
_KILL_MARGIN_SECONDS = 10.0


@dataclass
class _Child:
    role: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS
    start_after: float = field(default=0.0)
    steady: bool = False


class Supervisor:
    """Starts the roles of one node on one machine and keeps them alive.

    Raises `NodeAlreadyRunning` when another node works on the same data_dir, and `RoleError` when a
    role cannot start at all (a port that is taken, say).
    """

    def __init__(
        self, configuration: Configuration, roles: Sequence[str] = ROLES, *, silent: bool = False
    ) -> None:
        self._configuration = configuration
        self._children = [_Child(role) for role in ROLES if role in roles]
        self._log = logs.Log("supervisor")
        self._output = subprocess.DEVNULL if silent else None

    def run(self, stop: threading.Event) -> None:
        """Supervise until ``stop`` is set, then drain and return."""
        data_dir = self._configuration.settings.node.data_dir
        with _alone(data_dir, [child.role for child in self._children]):
            ledger = open_ledger(self._configuration.ledger_path, who="supervisor", verify=True)
            for child in self._children:
                ledger.orphaned(f"{worker_name(child.role).rsplit(':', 1)[0]}:")
                # Until it beats itself, an earlier run's last word would stand for it.
                ledger.beat(child.role, "starting")
            try:
                while not stop.wait(_TICK_SECONDS):
                    for child in self._children:
                        self._tend(child, ledger)
                self._log.event("node.stopping", reason="asked to stop")
            finally:
                self._drain()
                self._say_stopped(ledger)
                ledger.close()

    def _tend(self, child: _Child, ledger: Ledger) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_after:
                self._start(child, now)
            return
        status = child.process.poll()
        if status is not None:
            self._bury(child, status, ledger, now)
        elif now - child.started > _STEADY_SECONDS:
            child.pause, child.steady = _FIRST_PAUSE_SECONDS, True
            self._kill_if_hanging(child, ledger)

    def _start(self, child: _Child, now: float) -> None:
        node = self._configuration
        command = [sys.executable, "-m", "dicom_node.roles.process", child.role]
        command += ["--config", str(node.folder), "--data-dir", str(node.settings.node.data_dir)]
        child.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self._output)
        child.started = now

    def _bury(self, child: _Child, status: int, ledger: Ledger, now: float) -> None:
        assert child.process is not None
        pid, child.process = child.process.pid, None
        if status == EXIT_UNUSABLE and not child.steady:
            raise RoleError(
                f"The role {child.role} cannot start.", remedy="See its message just above."
            )
        # Its films are free again at once, not only when their leases expire.
        _end_leases(ledger, worker_name(child.role, pid))
        child.start_after = now + child.pause
        self._log.event(
            "role.died", role=child.role, pid=pid, exit_status=status, restart_seconds=child.pause
        )
        child.pause = min(child.pause * 2, _LONGEST_PAUSE_SECONDS)

    def _kill_if_hanging(self, child: _Child, ledger: Ledger) -> None:
        limit = self._configuration.settings.analysis.lease_seconds + _KILL_MARGIN_SECONDS
        for beat in ledger.beats():
            silent = (datetime.now(UTC) - beat.beat_at).total_seconds()
            if beat.role == child.role and silent > limit and child.process is not None:
                child.process.kill()

    def _drain(self) -> None:
        # The listener closes first, so that nothing new comes in while the rest finishes.
        deadline = time.monotonic() + self._configuration.settings.node.drain_seconds
        living = [child.process for child in self._children if child.process is not None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        for process in living:
            try:
                process.wait(max(deadline + _KILL_MARGIN_SECONDS - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _say_stopped(self, ledger: Ledger) -> None:
        """Note that no role runs any more: one that was killed could not say so itself."""
        with contextlib.suppress(LedgerUnavailable):  # a full disk, say
            for child in self._children:
                ledger.beat(child.role, "stopped")


def _end_leases(ledger: Ledger, worker: str) -> None:
    try:
        ledger.orphaned(worker)
    except LedgerUnavailable:
        # A full disk, say. The leases then expire by themselves.
        return


class _alone:  # noqa: N801 - used as a context manager, reads as a word
    """Hold the roles' locks on data_dir; the kernel frees them when the process ends, however."""

    def __init__(self, data_dir: Path, roles: Sequence[str]) -> None:
        self._data_dir, self._roles = data_dir, roles
        self._files: list[IO[str]] = []

    def __enter__(self) -> None:
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            for role in self._roles:
                self._files.append((self._data_dir / f"{role}.lock").open("w"))
        except OSError as error:
            raise SpoolUnwritable(
                f"The folder {self._data_dir} cannot be used: {error.strerror}."
            ) from error
        for file in self._files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise NodeAlreadyRunning(
                    f"Another node already works on {self._data_dir}."
                ) from error

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
