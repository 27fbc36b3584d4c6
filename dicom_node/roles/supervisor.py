"""Keep the roles running, each as a child process: restart with back-off, drain on SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from dicom_node import logs
from dicom_node.errors import LedgerUnavailable, RoleError
from dicom_node.ledger import Workers, open_ledger
from dicom_node.line.alone import alone, refuse_empty_start
from dicom_node.patience import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Patience
from dicom_node.records import ROLES, RUNS, SUPERVISOR, Worker, WorkerBeat
from dicom_node.roles.process import EXIT_UNUSABLE, new_worker
from dicom_node.settings import Configuration, Settings

_LOOKING = "looking after the roles"
_VETO = "receive"
"""Without it there is no node; every other role may come later."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a supervisor looks, and for how long it waits, in seconds.

    ``steady``: who lives for so long has started well, and its pauses begin anew. ``loading``:
    imports and networks take minutes on a busy machine, in which a role gives no sign of life.
    """

    tick: float = 0.2
    look: float = 1.0
    probe: float = 5.0
    steady: float = 60.0
    loading: float = 1800.0
    kill_margin: float = 10.0
    first_pause: float = FIRST_PAUSE_SECONDS


USUAL_RHYTHM = Rhythm()


@dataclass
class _Child:
    worker: Worker
    pause: float
    """For how long it stays away when it dies next."""

    seen: WorkerBeat | None = None
    """Its last sign of life, and ``changed``: when that was new, by the supervisor's own clock."""

    changed: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_after: float = field(default=0.0)
    steady: bool = False

    @property
    def role(self) -> str:
        return self.worker.role


class Supervisor:
    """Starts the roles of one node on one machine and keeps them alive.

    Raises `NodeAlreadyRunning` when another node works on the same data_dir, `LedgerMissing` where
    films are stored of which no ledger knows, and `RoleError` when ``receive`` cannot start at all
    (a port that is taken, say). Another role that cannot is told, and tried again with growing
    pauses, while the node receives.
    """

    def __init__(
        self,
        configuration: Configuration,
        roles: Sequence[str] = ROLES,
        *,
        silent: bool = False,
        rhythm: Rhythm = USUAL_RHYTHM,
    ) -> None:
        self._configuration, self._rhythm = configuration, rhythm
        self._children = [
            _Child(new_worker(role, number), rhythm.first_pause)
            for role in ROLES
            if role in roles
            for number in range(1, _workers_of(role, configuration.settings) + 1)
        ]
        # Two that run other roles of one node are told apart by the first of them.
        first = min((ROLES.index(child.role) for child in self._children), default=0)
        self._self = new_worker(SUPERVISOR, first + 1)
        self._says = f"{RUNS}{','.join(dict.fromkeys(child.role for child in self._children))}"
        self._log = logs.Log(SUPERVISOR)
        self._patience = Patience(self._log)
        self._output = subprocess.DEVNULL if silent else None
        self._dead: dict[str, str] = {}
        """Role of each token whose leases are to be ended."""

        self._looked = self._probed = 0.0
        self._is_first_process = os.getpid() == 1
        """As in a container: what roles leave behind when they die is ours then."""

    def run(self, stop: threading.Event) -> None:
        """Supervise until ``stop`` is set, then drain and return."""
        data_dir = self._configuration.settings.node.data_dir
        with alone(data_dir, {child.role: None for child in self._children}):
            refuse_empty_start(self._configuration)
            ledger = open_ledger(self._configuration.ledger_path, who="supervisor", verify=True)
            # Before a role works: later, leases of the living would end with those of the dead.
            self._patience.until(
                _LOOKING, lambda: self._begin(ledger), stop, longest=self._rhythm.probe
            )
            try:
                while not stop.wait(self._rhythm.tick):
                    now = time.monotonic()
                    for child in self._children:
                        self._tend(child, ledger, now)
                    if self._is_first_process:
                        _reap_strangers({c.process.pid for c in self._children if c.process})
                    if now - self._looked >= self._rhythm.look:
                        self._looked = now
                        self._patience.attempt(
                            _LOOKING, lambda: self._look(ledger), longest=self._rhythm.probe
                        )
                self._log.event("node.stopping", reason="asked to stop")
            finally:
                self._drain()
                self._say_stopped(ledger)
                ledger.close()

    def _begin(self, ledger: Workers) -> None:
        # Until one beats itself, an earlier run's last word would stand for it.
        ledger.begun([self._self, *(child.worker for child in self._children)])

    def _tend(self, child: _Child, ledger: Workers, now: float) -> None:
        if child.process is None:
            if now >= child.start_after:
                self._start(child, now)
            return
        status = child.process.poll()
        if status is not None:
            self._bury(child, status, ledger, now)
        elif now - child.started > self._rhythm.steady:
            child.pause, child.steady = self._rhythm.first_pause, True

    def _start(self, child: _Child, now: float) -> None:
        if child.started:
            child.worker = new_worker(child.role, child.worker.number)
        command = self._command(child.worker)
        # The machine may be at its limit of processes: the other roles go on.
        child.process = self._patience.attempt(
            f"starting {child.role} {child.worker.number}",
            lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self._output),
        )
        child.started = child.changed = now

    def _command(self, worker: Worker) -> list[str]:
        node = self._configuration
        where = ["--config", str(node.folder), "--data-dir", str(node.settings.node.data_dir)]
        who = [worker.role, "--token", worker.token, "--number", str(worker.number)]
        return [sys.executable, "-m", "dicom_node.roles.process", *who, *where]

    def _bury(self, child: _Child, status: int, ledger: Workers, now: float) -> None:
        assert child.process is not None
        pid, child.process = child.process.pid, None
        if status == EXIT_UNUSABLE and child.role == _VETO and not child.steady:
            raise RoleError(
                f"The role {child.role} cannot start.",
                remedy="Its last line above with role.error says why, and what to do.",
            )
        # Its films are free again at once, not only when their leases expire.
        self._dead[child.worker.token] = child.role
        self._patience.attempt(
            _LOOKING, lambda: self._end_leases(ledger), longest=self._rhythm.probe
        )
        child.start_after = now + child.pause
        self._log.event(
            "role.died", role=child.role, number=child.worker.number, pid=pid,
            exit_status=status, restart_seconds=child.pause,
        )  # fmt: skip
        child.pause = min(child.pause * 2, LONGEST_PAUSE_SECONDS)

    def _end_leases(self, ledger: Workers) -> None:
        for worker, role in list(self._dead.items()):
            ledger.orphaned(worker, role)
            del self._dead[worker]

    def _look(self, ledger: Workers) -> None:
        """End the leases of the dead; kill who has shown no sign of life for too long.

        Signs of life go through the ledger: while that takes none, nobody can give one.
        """
        now = time.monotonic()
        try:
            self._end_leases(ledger)
            if now - self._probed >= self._rhythm.probe:
                ledger.beat(self._self, "working", self._says)
                self._probed = now
            beats = {beat.worker.token: beat for beat in ledger.beats()}
        except LedgerUnavailable:
            for child in self._children:
                child.changed = time.monotonic()
            raise
        for child in self._children:
            self._kill_if_hanging(child, beats.get(child.worker.token), now)

    def _kill_if_hanging(self, child: _Child, beat: WorkerBeat | None, now: float) -> None:
        # By change alone: the clock on the wall may be set, for one of the processes or for all.
        if beat != child.seen:
            child.seen, child.changed = beat, now
        if child.process is None:
            return
        limit = self._configuration.settings.analysis.lease_seconds + self._rhythm.kill_margin
        if beat is None or beat.state == "starting":
            limit = max(limit, self._rhythm.loading)
        if child.steady and now - child.changed > limit:
            child.process.kill()

    def _drain(self) -> None:
        # The listener closes first, so that nothing new comes in while the rest finishes.
        deadline = time.monotonic() + self._configuration.settings.node.drain_seconds
        living = [child.process for child in self._children if child.process is not None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        for process in living:
            try:
                process.wait(max(deadline + self._rhythm.kill_margin - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _say_stopped(self, ledger: Workers) -> None:
        """Note that no role runs any more: one that was killed could not say so itself."""
        with contextlib.suppress(LedgerUnavailable):  # a full disk, say
            for worker in (*(child.worker for child in self._children), self._self):
                ledger.beat(worker, "stopped")


def _reap_strangers(own: Collection[int]) -> None:
    """Let processes end that nobody waits for: those of a role that is dead. ``own``: not these."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in own:
            return
        os.waitpid(found.si_pid, 0)


def _workers_of(role: str, settings: Settings) -> int:
    """Return how many processes work as a role."""
    many = {"analyse": settings.analysis.workers, "report": settings.report.count}
    return many.get(role, 1)
