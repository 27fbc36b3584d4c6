"""Real roles in a house that ails: none dies of it, every film is answered, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from benchmarks.long_night import Night, spend
from benchmarks.measured_node import STUB, StubWorker, all_but, make_films, roles_of
from tests.conftest import debian
from tests.node.peers import RunningNode, Storescp, free_port, make_node, storescu, wait_for

pytestmark = [
    pytest.mark.pacs("storescu", "storescp", "strace"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

ROLES = ("intake", "analyse", "report", "deliver")
LATEST_SECONDS = 240
FAILING = {"intake": "8..12", "analyse": "8..12", "report": "8..12", "deliver": "8..9"}
"""Which calls of each kind fail. Few: signs of life sync nothing, so each is of an outcome.

Each delivery has a thread anew, and pauses that grow.
"""


@dataclass
class Ward:
    """A node with a stub for a brain, and its PACS."""

    node: RunningNode
    pacs: Storescp
    stub: StubWorker | None = None

    def take(self, folder: Path, count: int = 2) -> set[str]:
        """Send films, all acknowledged; return their studies."""
        studies = set()
        for path in make_films(folder, count, 256):
            done = storescu(debian("storescu"), self.node, "PACS", path)
            assert done.returncode == 0, done.stdout + done.stderr
            studies.add(str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID))
        return studies

    def check_answered_once(self, studies: set[str]) -> None:
        wait_for(self.node.finished, LATEST_SECONDS, "every film is answered")
        found = sorted(
            (str(item.StudyInstanceUID), str(item.Modality)) for item in self.pacs.received()
        )
        own = [(study, modality) for study, modality in found if study in studies]
        assert own == sorted((study, kind) for study in studies for kind in ("OT", "SR"))
        with closing(sqlite3.connect(self.node.data_dir / "ledger.sqlite")) as ledger:
            states = ledger.execute("select distinct state, reason from instances").fetchall()
        assert states == [("analysed", None)]

    def pids_of(self, role: str) -> list[int]:
        if role == "analyse" and self.stub is not None and self.stub.process is not None:
            return [self.stub.process.pid]
        return [pid for pid, name in roles_of(self.node).items() if name == role]

    def events(self, name: str, role: str) -> list[dict[str, object]]:
        lines = [line for line in self.node.log.splitlines() if line.startswith("{")]
        found = [json.loads(line) for line in lines]
        return [each for each in found if each["event"] == name and each["role"] == role]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Storescp]:
    peer = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    peer.start()
    yield peer
    peer.stop()


def node_on(disk: Path | None, folder: Path, pacs: Storescp) -> RunningNode:
    node = make_node(folder / "node", disk=disk)
    node.add_remote("PACS", pacs.port)
    return node


@pytest.fixture
def ward(tmp_path: Path, pacs: Storescp, small_disk: Callable[[str], Path]) -> Iterator[Ward]:
    node = node_on(small_disk("64m"), tmp_path, pacs)
    node.start(all_but("analyse", "housekeep", "web"))
    stub = StubWorker(node)
    stub.start()
    wait_for(lambda: all(map(node.pid_of, ROLES)), LATEST_SECONDS, "every role works")
    yield Ward(node, pacs, stub)
    stub.stop()
    node.stop()


@contextmanager
def full_disk(node: RunningNode) -> Iterator[None]:
    hoard = node.data_dir / "another tenant"
    with hoard.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    yield
    hoard.unlink()


@contextmanager
def locked_ledger(node: RunningNode) -> Iterator[None]:
    with closing(sqlite3.connect(node.data_dir / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("pragma busy_timeout = 60000")
        other.execute("begin exclusive")
        yield
        other.execute("rollback")


@contextmanager
def resting(pids: list[int]) -> Iterator[None]:
    """Hold processes still, so that what happens meanwhile is the first that they meet."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_before_a_ledger_that_another_holds_waits_and_answers_every_film(
    ward: Ward, tmp_path: Path, role: str
) -> None:
    pids = ward.pids_of(role)
    with ExitStack() as ills:
        with resting(pids):
            studies = ward.take(tmp_path / "films")
            ills.enter_context(locked_ledger(ward.node))
        wait_for(lambda: ward.events("house.unavailable", role), 60, "the fault is told")
    ward.check_answered_once(studies)
    assert ward.pids_of(role) == pids
    assert not ward.events("role.died", "supervisor")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_on_a_full_disk_waits_or_goes_on_and_answers_every_film(
    ward: Ward, tmp_path: Path, role: str
) -> None:
    pids = ward.pids_of(role)
    with ExitStack() as ills:
        with resting(pids):
            studies = ward.take(tmp_path / "films")
            ills.enter_context(full_disk(ward.node))
        # What writes into the spool cannot go on; the others have the ledger's ballast.
        if role in {"analyse", "report"}:
            wait_for(lambda: ward.events("house.unavailable", role), 60, "the fault is told")
    ward.check_answered_once(studies)
    assert ward.pids_of(role) == pids
    assert not ward.events("role.died", "supervisor")


def command_of(role: str, node: RunningNode) -> list[str]:
    where = ["--config", str(node.config), "--data-dir", str(node.data_dir)]
    own = [str(STUB)] if role == "analyse" else ["-m", "dicom_node.roles.process", role]
    return [sys.executable, *own, *where]


@contextmanager
def traced(role: str, node: RunningNode, error: str, trace: Path) -> Iterator[None]:
    """Run one role under strace, in which every way to make bytes durable fails for a while."""
    calls = "fsync,fdatasync,pwrite64"
    inject = f"inject={calls}:error={error}:when={FAILING[role]}"
    command = [str(debian("strace")), "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}"]
    with (node.folder / "node.log").open("a") as log:
        process = subprocess.Popen([*command, "-e", inject, *command_of(role, node)], stderr=log)
    try:
        yield
        assert process.poll() is None, "the role has ended"
    finally:
        # Killing strace alone would leave the role alive.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGTERM)
        process.wait(60)


@pytest.mark.parametrize(
    ("role", "error"),
    [("intake", "EIO"), ("analyse", "ENOSPC"), ("report", "ENOSPC"), ("deliver", "EIO")],
)
def test_a_role_whose_disk_fails_below_it_goes_on_and_answers_every_film(
    tmp_path: Path, pacs: Storescp, role: str, error: str
) -> None:
    node = node_on(None, tmp_path, pacs)
    node.start(all_but(role, "analyse", "housekeep", "web"))
    ward, trace = Ward(node, pacs), tmp_path / "trace"
    if role != "analyse":
        ward.stub = StubWorker(node)
        ward.stub.start()
    try:
        studies = ward.take(tmp_path / "films", 3)
        with traced(role, node, error, trace):
            ward.check_answered_once(studies)
            assert "INJECTED" in trace.read_text("utf-8")
            assert ward.events("house.unavailable", role)
    finally:
        if ward.stub is not None:
            ward.stub.stop()
        node.stop()
    assert not ward.events("role.died", "supervisor")


def test_a_bad_night_with_kills_full_disks_and_locked_ledgers_loses_and_doubles_no_film(
    tmp_path: Path,
) -> None:
    debian("storescp")
    try:
        told = spend(tmp_path, Night(films=30, objects=("sr",), limit_seconds=500))
    except PermissionError:
        pytest.skip("this user may not mount a small file system")
    assert told.is_well, told
    assert not told.failed
    assert told.died == 0
