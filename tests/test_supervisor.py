"""The supervisor keeps the roles, whatever befalls them, the ledger and the clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dicom_node.errors import LedgerUnavailable
from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import ROLES, InstanceState, Worker
from dicom_node.roles import supervisor
from dicom_node.spool import Spool
from tests.node.peers import wait_for
from tests.reporting_kit import Node
from tests.supervisor_kit import LEASE_SECONDS, STRICT, Tiny, supervising


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that gives up on a locked ledger soon."""
    monkeypatch.setattr(supervisor, "open_ledger", partial(open_ledger, busy_seconds=0.2))


def test_a_role_that_loads_for_longer_than_a_lease_is_not_taken_for_hanging(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "analyse", rhythm=STRICT, analyse=["load"]) as watch:
        watch.runs(2)
        before = watch.chief.pids()
        wait_for(lambda: watch.chief.state("analyse1") == "starting", 30, "it loads")
        watch.chief.age("analyse1", 2 * LEASE_SECONDS)
        watch.looks_again()
        assert watch.chief.pids() == before
        assert not watch.events("role.died")


@pytest.mark.parametrize("days", [-1, 1])
def test_a_step_of_the_clock_on_the_wall_kills_no_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    told = SqliteLedger.beats

    def stepped(ledger: SqliteLedger) -> Any:
        step = timedelta(days=days)
        return [replace(beat, beat_at=beat.beat_at + step) for beat in told(ledger)]

    with supervising(tmp_path, "receive", "deliver", rhythm=STRICT) as watch:
        watch.runs(2)
        before = watch.chief.pids()
        monkeypatch.setattr(SqliteLedger, "beats", stepped)
        for _ in range(3):
            watch.goes_on()
        assert watch.chief.pids() == before
        assert not watch.events("role.died")


def test_a_ledger_that_cannot_be_read_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []

    def unread(*_: object) -> Any:
        failed.append(1)
        raise LedgerUnavailable("The ledger could not be read: disk I/O error.")

    with supervising(tmp_path, "receive", "deliver", rhythm=STRICT) as watch:
        watch.runs(2)
        before, well = watch.chief.pids(), SqliteLedger.beats
        monkeypatch.setattr(SqliteLedger, "beats", unread)
        wait_for(lambda: len(failed) >= 3, 30, "the supervisor has looked in vain")
        monkeypatch.setattr(SqliteLedger, "beats", well)
        wait_for(lambda: watch.events("house.available"), 30, "it is told that it is well")
        assert watch.chief.pids() == before
        assert not watch.errors
        assert len(watch.events("house.unavailable")) == 1
        assert not watch.events("node.stopping")


@pytest.mark.usefixtures("hasty")
def test_no_role_is_taken_for_hanging_while_the_ledger_takes_no_sign_of_life(
    tmp_path: Path,
) -> None:
    with supervising(tmp_path, "receive", "deliver", rhythm=STRICT) as watch:
        watch.runs(2)
        watch.goes_on()
        before = watch.chief.pids()
        other = open_ledger(watch.chief.path, who="another", busy_seconds=30)
        with other._connection.transaction():
            wait_for(lambda: watch.events("house.unavailable"), 30, "the supervisor has noticed")
            for who in before:
                watch.chief.age(who, 2 * LEASE_SECONDS)
            wait_for(
                lambda: all(watch.chief.silence(who) < LEASE_SECONDS for who in before),
                30,
                "nobody's silence counts",
            )
        wait_for(lambda: watch.events("house.available"), 30, "the ledger is well again")
        watch.goes_on()
        assert watch.chief.pids() == before
        assert not watch.events("role.died")


def test_a_role_that_cannot_start_is_told_and_tried_again_while_the_node_receives(
    tmp_path: Path,
) -> None:
    others = {role for role in ROLES if role != "receive"}
    unusable = {role: ["exit", "78"] for role in others}
    with supervising(tmp_path, *ROLES, **unusable) as watch:
        for role in others:
            wait_for(lambda: len(watch.events("role.died", role=role)) >= 2, 30, "tried again")  # noqa: B023 - asked at once
        watch.goes_on("receive1")
        assert {event["role"] for event in watch.events("role.died")} == others
        assert not watch.errors


def test_a_process_that_cannot_be_made_is_told_once_and_the_node_receives(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "web", web=["missing"]) as watch:
        wait_for(lambda: watch.events("role.error"), 30, "it is told")
        wait_for(lambda: "receive1" in watch.chief.pids(), 30, "the receiver runs")
        watch.goes_on("receive1")
        watch.chief.how = {}
        wait_for(lambda: "web1" in watch.chief.pids(), 30, "it is started once that can be done")
        assert len(watch.events("role.error")) == 1
        assert not watch.errors


@pytest.mark.usefixtures("hasty")
def test_a_ledger_that_is_locked_when_the_node_starts_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    other = open_ledger(tmp_path / "data" / "ledger.sqlite", who="another")
    with ExitStack() as stack:
        with other._connection.transaction():
            watch = stack.enter_context(supervising(tmp_path, "receive"))
            wait_for(lambda: watch.events("house.unavailable"), 30, "it is told")
        wait_for(lambda: watch.events("house.available"), 30, "its end is told")
        watch.runs(1)
        watch.goes_on()
        assert not watch.errors


def test_a_receiver_that_cannot_start_stops_the_node_with_a_remedy(tmp_path: Path) -> None:
    with supervising(tmp_path, "receive", "web", receive=["exit", "78"]) as watch:
        wait_for(lambda: bool(watch.errors), 30, "the node gives up")
    assert watch.errors[0].remedy


def test_leases_of_the_dead_are_ended_as_soon_as_the_ledger_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphaned, ended, refused = SqliteLedger.orphaned, [], []

    def ailing(ledger: SqliteLedger, worker: str, role: str) -> int:
        if len(refused) < 3:
            refused.append(worker)
            raise LedgerUnavailable("The ledger could not be written: database is locked.")
        ended.append(worker)
        return orphaned(ledger, worker, role)

    monkeypatch.setattr(SqliteLedger, "orphaned", ailing)
    with supervising(tmp_path, "receive", "deliver", deliver=["exit", "1"]):
        wait_for(lambda: refused and refused[0] in ended, 30, "the leases are ended after all")


CRASHING = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from dicom_node import logs
from dicom_node.analysis.declared import DeclaredNetworks
from dicom_node.brains.apart import Apart
from dicom_node.results.preview import preview_film
from dicom_node.records import Worker
from dicom_node.roles import analyse, process
from dicom_node.settings import load_configuration

answered = preview_film()

class Engine:
    device, at_once, computed_by, passed_over = "cpu", 1, "keras", None
    declared = DeclaredNetworks((), Apart)

    def warm(self):
        pass

    def analyse(self, film, uid, asked=None):
        if uid.endswith(".13"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return replace(answered.findings, sop_instance_uid=uid), answered.explanation

logs.configure()
analyse.engine_of = lambda settings, shadow: Engine()
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
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with open_ledger_of(data) as (ledger, node):
        for number in (12, 13, 14):
            node.receive(number, InstanceState.RECEIVED)
        for film in ledger.claim_instances(InstanceState.RECEIVED, "test", 60, 9):
            ledger.admitted(film.id, "test", "PA")
        with supervising(tmp_path, "analyse", kind=Crashing) as watch:

            def done() -> bool:
                states = [ledger.find_instances(f"1.2.3.{n}")[0].state for n in (12, 13, 14)]
                return states == ["analysed", "failed", "analysed"]

            wait_for(done, 200, "the poison is set aside, the others are analysed")
            crashes = [each["exit_status"] for each in watch.events("role.died")]
            assert crashes == [-11, -11]
            assert not watch.errors
        (poison,) = ledger.find_instances("1.2.3.13")
        assert "quarantined" in str(poison.reason)


@contextmanager
def open_ledger_of(data: Path) -> Iterator[tuple[SqliteLedger, Node]]:
    ledger = open_ledger(data / "ledger.sqlite", who="test")
    yield ledger, Node(ledger, Spool(data / "spool"), reporter=None)  # type: ignore[arg-type]
    ledger.close()


def test_a_first_process_reaps_what_dead_roles_leave_behind(tmp_path: Path) -> None:
    # As in a container: what has no parent any more is process 1's. Here a process of its own takes
    # that part, since a test's own children must stay its own.
    program = """
import ctypes, subprocess, sys, time
from pathlib import Path
from dicom_node.roles.supervisor import _reap_strangers
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
role = subprocess.Popen(["sh", "-c", "sleep 0.2 & echo $!; exec sleep 60"], stdout=subprocess.PIPE)
orphan = int(role.stdout.readline())
role.kill()
deadline = time.monotonic() + 30
while Path(f"/proc/{orphan}").exists() and time.monotonic() < deadline:
    _reap_strangers({role.pid})
    time.sleep(0.05)
    if role.returncode is None and not Path(f"/proc/{orphan}").exists():
        break
    role.poll()
assert not Path(f"/proc/{orphan}").exists(), "it is left as a zombie"
assert role.wait() == -9, "its own child is told to whoever waits for it"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
