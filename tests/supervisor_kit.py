"""A supervisor of tiny programs: what each role, or each worker of it, does is told it."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dicom_node import logs
from dicom_node.errors import RoleError
from dicom_node.ledger import Workers, open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import Worker
from dicom_node.roles.supervisor import Rhythm, Supervisor, _Child
from dicom_node.settings import load_configuration
from tests.node.peers import wait_for

LEASE_SECONDS = 300.0
BRISK = Rhythm(tick=0.05, look=0.1, probe=0.1, first_pause=0.05)
"""It looks often, and who died comes back soon."""

STRICT = replace(BRISK, steady=0.0)
"""It may take a role for hanging that has only just begun."""

CHILD = """
import sys, time
from pathlib import Path
from dicom_node.ledger import Workers, open_ledger
from dicom_node.errors import LedgerUnavailable
from dicom_node.records import Worker

role, token, number, path, how = sys.argv[1:]
worker = Worker(role, token, int(number))
if how == "silent":
    time.sleep(600)
ledger = open_ledger(Path(path), who=role)
if how == "hang":
    ledger.beat(worker, "working")
    time.sleep(600)
if how == "load":
    ledger.beat(worker, "starting", "loading networks")
    time.sleep(600)
while True:
    time.sleep(0.1)
    try:
        ledger.beat(worker, "working", f"{time.monotonic()}")
    except LedgerUnavailable:
        pass
"""


class Tiny(Supervisor):
    """A supervisor whose roles are tiny programs.

    ``how`` says what each role does, or each worker of it (``report2``): ``beat``, ``hang`` after
    one sign of life, be ``silent`` from the start, ``load`` for ever, ``exit`` with a status, or be
    ``missing``.
    """

    how: Mapping[str, Sequence[str]]
    path: Path
    looks: int = 0
    """How often it has looked after them."""

    def _command(self, worker: Worker) -> list[str]:
        role, number = worker.role, str(worker.number)
        what = self.how.get(f"{role}{number}", self.how.get(role, ["beat"]))
        if what[0] == "missing":
            return ["/no/such/program"]
        if what[0] == "exit":
            return [sys.executable, "-c", f"raise SystemExit({what[1]})"]
        return [sys.executable, "-c", CHILD, role, worker.token, number, str(self.path), *what]

    def _look(self, ledger: Workers) -> None:
        super()._look(ledger)
        self.looks += 1

    def pids(self) -> dict[str, int]:
        """Return the processes that run, by role and number (``report2``)."""
        return {
            name: child.process.pid
            for name, child in self._named().items()
            if child.process is not None
        }

    def tokens(self) -> dict[str, str]:
        """Return the token of the present life of each worker, by role and number."""
        return {name: child.worker.token for name, child in self._named().items()}

    def age(self, who: str, seconds: float) -> None:
        """Let its last sign of life be so much older, as if the time had passed."""
        self._named()[who].changed -= seconds

    def silence(self, who: str) -> float:
        """Return for how many seconds nothing has been heard of a worker."""
        return time.monotonic() - self._named()[who].changed

    def state(self, who: str) -> str:
        """Return what the supervisor last heard that a worker does, "" before."""
        seen = self._named()[who].seen
        return seen.state if seen else ""

    def _named(self) -> dict[str, _Child]:
        return {f"{child.role}{child.worker.number}": child for child in self._children}


@dataclass
class Watch:
    """A supervisor at work, what it said, and what ended it."""

    chief: Tiny
    said: io.StringIO = field(default_factory=io.StringIO)
    errors: list[Exception] = field(default_factory=list)

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Return what was told by this name, with these fields."""
        told = map(json.loads, self.said.getvalue().splitlines())
        return [
            event for event in told if event["event"] == name and fields.items() <= event.items()
        ]

    def runs(self, many: int) -> None:
        """Wait until so many processes run."""
        wait_for(lambda: len(self.chief.pids()) == many, 30, f"{many} processes run")

    def looks_again(self) -> None:
        """Wait until the supervisor has looked after all from now on."""
        before = self.chief.looks
        wait_for(lambda: self.chief.looks > before + 1, 30, "the supervisor looks again")

    def beating(self, *workers: str) -> Callable[[], bool]:
        """Return whether these, or all who run, have shown a sign of life since this was asked."""
        ledger = open_ledger(self.chief.path, who="test")
        first = _signs(ledger)

        def later() -> bool:
            now, wanted = _signs(ledger), workers or tuple(self.chief.pids())
            return all(who in now and now[who] != first.get(who) for who in wanted)

        return later

    def goes_on(self, *workers: str) -> None:
        """Wait until these, or all who run, have shown one more sign of life."""
        wait_for(self.beating(*workers), 30, "they beat")


def _signs(ledger: SqliteLedger) -> dict[str, str | None]:
    beats = [beat for beat in ledger.beats() if beat.state == "working"]
    return {f"{beat.role}{beat.worker.number}": beat.detail for beat in beats}


@contextmanager
def supervising(
    folder: Path,
    *roles: str,
    kind: type[Tiny] = Tiny,
    rhythm: Rhythm = BRISK,
    site: str = "",
    **how: Sequence[str],
) -> Iterator[Watch]:
    """Run a supervisor of these roles until the end of the block; ``site``: more of node.toml."""
    config = folder / "site"
    (config / "remotes").mkdir(parents=True, exist_ok=True)
    (config / "node.toml").write_text(
        f"[node]\ndrain_seconds = 1.0\n[analysis]\nlease_seconds = {LEASE_SECONDS}\n{site}"
    )
    configuration = load_configuration(config, data_dir=folder / "data", thorough=False)
    chief = kind(configuration, roles, rhythm=rhythm)
    chief.how, chief.path = how, configuration.ledger_path
    watch, stop = Watch(chief), threading.Event()
    logs.configure(stream=watch.said, strict=True)

    def run() -> None:
        try:
            chief.run(stop)
        except RoleError as error:
            watch.errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
