"""The supervisor keeps the roles, whatever befalls them, the ledger and the clock."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node import logs
from dicom_node.errors import LedgerUnavailable, RoleError
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import InstanceState, Worker
from dicom_node.roles import supervisor
from dicom_node.roles.supervisor import Supervisor
from dicom_node.settings import load_configuration
from dicom_node.spool import Spool
from tests.node.peers import wait_for
from tests.reporting_kit import Node

CHILD = """
import sys, time
from pathlib import Path
from dicom_node.ledger import open_ledger
from dicom_node.errors import LedgerUnavailable
from dicom_node.records import Worker

role, token, number, path, how = sys.argv[1:]
worker = Worker(role, token, int(number))
ledger = open_ledger(Path(path), who=role)
if how == "hang":
    ledger.beat(worker, "working")
    time.sleep(600)
if how == "load":
    ledger.beat(worker, "starting", "loading networks")
    time.sleep(5)
while True:
    time.sleep(0.1)
    try:
        ledger.beat(worker, "working", f"{time.monotonic()}")
    except LedgerUnavailable:
        pass
"""


class Tiny(Supervisor):
    """A supervisor whose roles are tiny programs: ``how`` says what each does."""

    how: dict[str, Sequence[str]]
    path: Path

    def _command(self, worker: Worker) -> list[str]:
        role, number = worker.role, str(worker.number)
        what = self.how.get(f"{role}{number}", self.how.get(role, ["beat"]))
        if what[0] == "missing":
            return ["/no/such/program"]
        if what[0] == "exit":
            return [sys.executable, "-c", f"raise SystemExit({what[1]})"]
        return [sys.executable, "-c", CHILD, role, worker.token, number, str(self.path), what[0]]

    def pids(self) -> dict[str, int]:
        return {c.role: c.process.pid for c in self._children if c.process is not None}


@contextmanager
def supervising(
    folder: Path, *roles: str, **how: Sequence[str]
) -> Iterator[tuple[Tiny, io.StringIO, list[Exception]]]:
    site = folder / "site"
    (site / "remotes").mkdir(parents=True)
    (site / "node.toml").write_text("[node]\ndrain_seconds = 1.0\n")
    configuration = load_configuration(site, data_dir=folder / "data", thorough=False)
    said, stop, errors = io.StringIO(), threading.Event(), []
    logs.configure(stream=said, strict=True)
    chief = Tiny(configuration, roles)
    chief.how, chief.path = how, configuration.ledger_path

    def run() -> None:
        try:
            chief.run(stop)
        except RoleError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield chief, said, errors
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that takes a role for hanging after two seconds."""
    monkeypatch.setattr(supervisor, "_STEADY_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "_KILL_MARGIN_SECONDS", 2.0 - 300.0)


def events(said: io.StringIO, name: str) -> list[dict[str, Any]]:
    return [e for e in map(json.loads, said.getvalue().splitlines()) if e["event"] == name]


def beating(chief: Tiny) -> Callable[[], bool]:
    """Return whether every role has shown a sign of life since this was asked first."""
    ledger = open_ledger(chief.path, who="test")
    first = {beat.role: beat.detail for beat in ledger.beats()}

    def later() -> bool:
        now = {beat.role: beat.detail for beat in ledger.beats() if beat.role in chief.pids()}
        return len(now) == len(chief.pids()) and all(first.get(r) != d for r, d in now.items())

    return later


@pytest.mark.usefixtures("impatient")
def test_a_role_that_hangs_is_killed_and_started_again_and_the_others_live(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "deliver", deliver=["hang"]) as (chief, said, _):
        wait_for(lambda: len(chief.pids()) == 2, 30, "both roles run")
        lives = chief.pids()["receive"]
        wait_for(lambda: events(said, "role.died"), 30, "the one that hangs is killed")
        (died, *_) = events(said, "role.died")
        assert (died["role"], died["exit_status"]) == ("deliver", -9)
        wait_for(lambda: len(chief.pids()) == 2, 30, "it is started again")
        assert chief.pids()["receive"] == lives


@pytest.mark.usefixtures("impatient")
def test_a_role_that_loads_for_longer_than_a_lease_is_not_taken_for_hanging(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "analyse", analyse=["load"]) as (chief, said, _):
        wait_for(lambda: len(chief.pids()) == 2, 30, "both roles run")
        before = chief.pids()
        wait_for(beating(chief), 30, "it has loaded and works")
        assert chief.pids() == before
        assert not events(said, "role.died")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("days", [-1, 1])
def test_a_step_of_the_clock_on_the_wall_kills_no_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    told = SqliteLedger.beats

    def stepped(ledger: SqliteLedger) -> Any:
        step = timedelta(days=days)
        return [replace(beat, beat_at=beat.beat_at + step) for beat in told(ledger)]

    with supervising(tmp_path, "receive", "deliver") as (chief, said, _):
        wait_for(lambda: len(chief.pids()) == 2, 30, "both roles run")
        before = chief.pids()
        monkeypatch.setattr(SqliteLedger, "beats", stepped)
        for _ in range(3):
            wait_for(beating(chief), 30, "the roles go on")
        assert chief.pids() == before
        assert not events(said, "role.died")


@pytest.mark.usefixtures("impatient")
def test_a_ledger_that_cannot_be_read_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def unread(*_: object) -> Any:
        failed.append(1)
        raise LedgerUnavailable("The ledger could not be read: disk I/O error.")

    with supervising(tmp_path, "receive", "deliver") as (chief, said, errors):
        wait_for(lambda: len(chief.pids()) == 2, 30, "both roles run")
        before, well = chief.pids(), SqliteLedger.beats
        monkeypatch.setattr(SqliteLedger, "beats", unread)
        wait_for(lambda: len(failed) >= 3, 30, "the supervisor has looked in vain")
        monkeypatch.setattr(SqliteLedger, "beats", well)
        wait_for(lambda: events(said, "house.available"), 30, "it is told that it is well")
        assert chief.pids() == before
        assert not errors
        assert len(events(said, "house.unavailable")) == 1
        assert not events(said, "node.stopping")


@pytest.mark.usefixtures("impatient")
def test_no_role_is_taken_for_hanging_while_the_ledger_takes_no_sign_of_life(
    tmp_path: Path,
) -> None:
    with supervising(tmp_path, "receive", "deliver") as (chief, said, _):
        wait_for(lambda: len(chief.pids()) == 2, 30, "both roles run")
        wait_for(beating(chief), 30, "they beat")
        before = chief.pids()
        other = open_ledger(chief.path, who="another", busy_seconds=30)
        with other._connection.transaction():
            wait_for(lambda: events(said, "house.unavailable"), 30, "the supervisor has noticed")
            assert not threading.Event().wait(3.0)
        wait_for(lambda: events(said, "house.available"), 30, "the ledger is well again")
        wait_for(beating(chief), 30, "they beat again")
        assert chief.pids() == before
        assert not events(said, "role.died")


def test_a_role_that_cannot_start_is_told_and_tried_again_while_the_node_receives(
    tmp_path: Path,
) -> None:
    with supervising(tmp_path, "receive", "web", web=["exit", "78"]) as (chief, said, errors):
        wait_for(lambda: len(events(said, "role.died")) >= 2, 30, "it is tried again")
        assert "receive" in chief.pids()
        assert {event["role"] for event in events(said, "role.died")} == {"web"}
        assert not errors


def test_a_process_that_cannot_be_made_is_told_once_and_the_node_receives(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "web", web=["missing"]) as (chief, said, errors):
        wait_for(lambda: events(said, "role.error"), 30, "it is told")
        wait_for(lambda: "receive" in chief.pids(), 30, "the receiver runs")
        wait_for(beating(chief), 30, "it beats")
        chief.how = {}
        wait_for(lambda: "web" in chief.pids(), 30, "it is started once that can be done")
        assert len(events(said, "role.error")) == 1
        assert not errors


def test_a_ledger_that_is_locked_when_the_node_starts_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    other = open_ledger(tmp_path / "data" / "ledger.sqlite", who="another")
    with ExitStack() as stack:
        with other._connection.transaction():
            chief, said, errors = stack.enter_context(supervising(tmp_path, "receive"))
            wait_for(lambda: events(said, "house.unavailable"), 30, "it is told")
        wait_for(lambda: events(said, "house.available"), 30, "its end is told")
        wait_for(lambda: "receive" in chief.pids(), 30, "the receiver runs")
        wait_for(beating(chief), 30, "it beats")
        assert not errors


def test_a_receiver_that_cannot_start_stops_the_node_with_a_remedy(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "web", receive=["exit", "78"]) as (_, _said, errors):
        wait_for(lambda: bool(errors), 30, "the node gives up")
    assert errors[0].remedy


def test_leases_of_the_dead_are_ended_as_soon_as_the_ledger_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 0.1)
    orphaned, ended, refused = SqliteLedger.orphaned, [], []

    def ailing(ledger: SqliteLedger, worker: str) -> int:
        if not worker.endswith(":") and len(refused) < 3:
            refused.append(worker)
            raise LedgerUnavailable("The ledger could not be written: database is locked.")
        ended.append(worker)
        return orphaned(ledger, worker)

    monkeypatch.setattr(SqliteLedger, "orphaned", ailing)
    with supervising(tmp_path, "receive", "deliver", deliver=["exit", "1"]):
        wait_for(lambda: refused and refused[0] in ended, 30, "the leases are ended after all")


CRASHING = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from dicom_node import logs
from dicom_node.results.preview import preview_film
from dicom_node.records import Worker
from dicom_node.roles import analyse, process
from dicom_node.settings import load_configuration

answered = preview_film()

class Engine:
    device, computed_by, passed_over = "cpu", "keras", None

    def warm(self):
        pass

    def analyse_many(self, films):
        if any(uid.endswith(".13") for _, uid in films):
            os.kill(os.getpid(), signal.SIGSEGV)
        return [
            (replace(answered.findings, sop_instance_uid=uid), answered.explanation)
            for _, uid in films
        ]

logs.configure()
analyse.engine_of = lambda settings: Engine()
node = load_configuration(Path(sys.argv[1]), data_dir=Path(sys.argv[2]), thorough=False)
sys.exit(process.run_role(Worker("analyse", sys.argv[3]), node))
"""


class Crashing(Tiny):
    """Its analysing role is the real one, whose networks crash on one film."""

    def _command(self, worker: Worker) -> list[str]:
        node = self._configuration
        where = [str(node.folder), str(node.settings.node.data_dir)]
        return [sys.executable, "-c", CRASHING, *where, worker.token]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_crash_of_the_real_role_costs_its_film_alone_after_two_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with open_ledger_of(data) as (ledger, node):
        for number in (12, 13, 14):
            node.receive(number, InstanceState.RECEIVED)
        for film in ledger.claim_instances(InstanceState.RECEIVED, "test", 60, 9):
            ledger.admitted(film.id, "test", "PA")
        monkeypatch.setitem(globals(), "Tiny", Crashing)
        with supervising(tmp_path, "analyse") as (_, said, errors):

            def done() -> bool:
                states = [ledger.find_instances(f"1.2.3.{n}")[0].state for n in (12, 13, 14)]
                return states == ["analysed", "failed", "analysed"]

            wait_for(done, 200, "the poison is set aside, the others are analysed")
            crashes = [each["exit_status"] for each in events(said, "role.died")]
            assert crashes == [-11, -11]
            assert not errors
        (poison,) = ledger.find_instances("1.2.3.13")
        assert "quarantined" in str(poison.reason)


@contextmanager
def open_ledger_of(data: Path) -> Iterator[tuple[SqliteLedger, Node]]:
    ledger = open_ledger(data / "ledger.sqlite", who="test")
    yield ledger, Node(ledger, Spool(data / "spool"), reporter=None)  # type: ignore[arg-type]
    ledger.close()
