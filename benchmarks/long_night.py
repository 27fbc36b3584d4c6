"""A bad night: many films, every role killed in turn, a full disk and a locked ledger, twice each.

``python benchmarks/long_night.py [--films 2000] [--objects sr,capture]`` starts a node with two
reporters on a small file system of its own (this needs the right to mount) and DCMTK's storescp,
and sends films, each again and again until it is acknowledged. The brain is a stub, unless
``--networks`` is given. At the end it counts: acknowledged = answered = at the PACS, each study's
objects once. Exit status 1 where that is not so.

An overlay takes 5 MB whatever the size of its film, here and at the PACS: ``--objects sr`` where
room and time are short.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pydicom
from pynetdicom import AE
from pynetdicom.association import Association
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from benchmarks.measured_node import StubWorker, all_but, make_films, roles_of, set_in
from dicom_node.errors import NodeError
from dicom_node.records import ROLES
from tests.node.peers import RunningNode, Storescp, free_port, make_node

ILL_SECONDS = 20.0
_DX = pydicom.uid.DigitalXRayImageStorageForPresentation
_SUCCESS = 0x0000
_TICK_SECONDS = 0.2
_REPORTERS = 2
_MODALITIES = {"sr": "SR", "capture": "OT"}


@dataclass
class Night:
    """What is asked of a night, and what is told at its end."""

    films: int
    size: int = 256
    objects: tuple[str, ...] = ("sr", "capture")
    kill_seconds: float = 9.0
    ill_seconds: float = ILL_SECONDS
    networks: bool = False
    limit_seconds: float = 7200.0

    @property
    def wanted(self) -> frozenset[str]:
        """The modalities that each study is to have at the PACS, each once."""
        return frozenset(_MODALITIES[name] for name in self.objects)

    @property
    def room_bytes(self) -> int:
        """What the disk must hold: films and results, and something over for the ledger."""
        results = 6_000_000 if "capture" in self.objects else 250_000
        return (200 << 20) + self.films * (self.size**2 * 2 + 50_000 + results)


@dataclass
class Told:
    """The counts at the end."""

    films: int
    acknowledged: int = 0
    answered: int = 0
    at_the_pacs: int = 0
    """Studies with one report and one capture there, no more."""

    failed: dict[str, str] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)
    died: int = 0
    """Roles that ended without being killed."""

    sent_in_vain: int = 0
    ills: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether each film was acknowledged, answered and delivered, once."""
        return self.films == self.acknowledged == self.answered == self.at_the_pacs


class Sender(threading.Thread):
    """Sends each film until it is acknowledged."""

    def __init__(self, paths: list[Path], port: int) -> None:
        super().__init__(daemon=True)
        self._paths, self._port = paths, port
        self.acknowledged: set[str] = set()
        self.in_vain = 0

    def run(self) -> None:
        ae = AE("PACS")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 30
        ae.add_requested_context(_DX, pydicom.uid.ExplicitVRLittleEndian)
        association: Association | None = None
        for path in self._paths:
            film = pydicom.dcmread(path)
            while film.SOPInstanceUID not in self.acknowledged:
                if association is None or not association.is_established:
                    association = ae.associate("127.0.0.1", self._port, ae_title="DICOMNODE")
                if self._is_taken(association, film):
                    self.acknowledged.add(film.SOPInstanceUID)
                else:
                    self.in_vain += 1
                    time.sleep(0.5)
        if association is not None and association.is_established:
            association.release()

    @staticmethod
    def _is_taken(association: Association, film: pydicom.Dataset) -> bool:
        try:
            return association.send_c_store(film).get("Status") == _SUCCESS
        except (RuntimeError, ValueError):  # the association is gone
            return False


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """Mount a file system in memory on ``folder``. Raises PermissionError where one may not."""
    folder.mkdir(parents=True, exist_ok=True)
    how = ["-o", f"size={size_bytes},mode=0700"]
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *how, "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode != 0:
        raise PermissionError("This user may not mount a small file system.")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(node: RunningNode, seconds: float) -> None:
    """Take every byte that is free on the node's disk, for a while."""
    hoard = node.data_dir / "another tenant"
    ends = time.monotonic() + seconds
    with hoard.open("wb", buffering=0) as file:
        while time.monotonic() < ends:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                time.sleep(0.05)
    hoard.unlink()


def locked_ledger(node: RunningNode, seconds: float) -> None:
    """Hold the ledger so that nobody else can write, for a while."""
    with closing(sqlite3.connect(node.data_dir / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("pragma busy_timeout = 60000")
        other.execute("begin exclusive")
        time.sleep(seconds)
        other.execute("rollback")


@dataclass
class Fate:
    """What befalls a node, in its order, until the night is over."""

    node: RunningNode
    stub: StubWorker | None
    night: Night
    killed: Counter[str] = field(default_factory=Counter)
    died: int = 0
    ills: list[str] = field(default_factory=list)
    _next_kill: float = 0.0
    _turn: int = 0
    _ill: threading.Thread | None = None

    def tend(self, done: float) -> None:
        """Do what is due; ``done``: which part of the films has been answered."""
        if self.stub is not None:
            self.stub.tend()
            with suppress(NodeError):
                self.stub.bury()
        ails = self._ill is not None and self._ill.is_alive()
        if not ails and len(self.ills) < 4 and done > 0.15 * (len(self.ills) + 1):
            self._fall_ill()
        if time.monotonic() > self._next_kill:
            self._next_kill = time.monotonic() + self.night.kill_seconds
            self._kill(ROLES[self._turn % len(ROLES)])
            self._turn += 1

    @property
    def is_ill(self) -> bool:
        return self._ill is not None and self._ill.is_alive()

    def _fall_ill(self) -> None:
        ill: Callable[[RunningNode, float], None]
        ill = (full_disk, locked_ledger)[len(self.ills) % 2]
        self.ills.append(ill.__name__)
        self._ill = threading.Thread(
            target=ill, args=(self.node, self.night.ill_seconds), daemon=True
        )
        self._ill.start()

    def _kill(self, role: str) -> None:
        own = [pid for pid, name in roles_of(self.node).items() if name == role]
        if role == "analyse" and self.stub is not None and self.stub.process is not None:
            own = [self.stub.process.pid]
        # One of several that have this role, each time another.
        if own:
            os.kill(own[self._turn // len(ROLES) % len(own)], signal.SIGKILL)
            self.killed[role] += 1


def studies_at(pacs: Storescp, known: dict[str, tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Return how many objects of which modality of each study are there; ``known`` by file."""
    for path in pacs.folder.iterdir():
        if path.name not in known:
            tags = ["StudyInstanceUID", "Modality"]
            with suppress(Exception):  # half a file, while the PACS writes it
                head = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=True)
                known[path.name] = (str(head.StudyInstanceUID), str(head.Modality))
    return Counter(known.values())


def whole(found: Counter[tuple[str, str]], wanted: frozenset[str]) -> int:
    """Return the number of studies with one object of each wanted modality."""
    studies = {study for study, _ in found}
    return sum(all(found[study, modality] == 1 for modality in wanted) for study in studies)


def spend(folder: Path, night: Night, say: Callable[[str], None] = print) -> Told:
    """Have the night; return what is told of it. Raises PermissionError where one may not mount."""
    paths = make_films(folder / "films", night.films, night.size)
    pacs = Storescp("PACS", free_port(), folder / "pacs", Path("/usr/bin/storescp"))
    node = make_node(folder / "node", quiet_seconds=0.2)
    set_in(node, "[report]", f"workers = {_REPORTERS}", port=free_port())
    node.add_remote("PACS", pacs.port, objects=list(night.objects))
    with small_disk(node.data_dir, night.room_bytes):
        pacs.start()
        node.start(None if night.networks else all_but("analyse"))
        stub = None if night.networks else StubWorker(node)
        if stub is not None:
            stub.start()
        try:
            return _watch(node, stub, pacs, paths, night, say)
        finally:
            if stub is not None:
                stub.stop()
            node.stop()
            pacs.stop()


def _watch(
    node: RunningNode,
    stub: StubWorker | None,
    pacs: Storescp,
    paths: list[Path],
    night: Night,
    say: Callable[[str], None],
) -> Told:
    sender, fate = Sender(paths, node.port), Fate(node, stub, night)
    began, told, known = time.monotonic(), 0.0, dict[str, tuple[str, str]]()
    sender.start()
    while time.monotonic() - began < night.limit_seconds:
        at_pacs = studies_at(pacs, known)
        fate.tend(whole(at_pacs, night.wanted) / night.films)
        if not sender.is_alive() and not fate.is_ill and _finished(node):
            break
        if time.monotonic() - told > 30:
            told = time.monotonic()
            killed = sum(fate.killed.values())
            say(
                f"{told - began:.0f} s: acknowledged {len(sender.acknowledged)}, at the PACS"
                f" {whole(at_pacs, night.wanted)}, killed {killed}, ills {fate.ills}"
            )
        time.sleep(_TICK_SECONDS)
    return _told(node, sender, fate, studies_at(pacs, known), began)


def _finished(node: RunningNode) -> bool:
    try:
        return node.finished()
    except NodeError:
        return False


def _told(
    node: RunningNode, sender: Sender, fate: Fate, found: Counter[tuple[str, str]], began: float
) -> Told:
    with closing(sqlite3.connect(node.data_dir / "ledger.sqlite")) as ledger:
        rows = ledger.execute("select sop_instance_uid, state, reason from instances").fetchall()
        (reported,) = ledger.execute(
            "select count(*) from studies where state = 'reported' and reason is null"
        ).fetchone()
    died = [line for line in node.log.splitlines() if '"role.died"' in line and _unasked(line)]
    return Told(
        films=fate.night.films,
        acknowledged=len(sender.acknowledged),
        answered=reported,
        at_the_pacs=whole(found, fate.night.wanted),
        failed={uid: str(reason) for uid, state, reason in rows if state != "analysed"},
        killed=dict(fate.killed),
        died=len(died),
        sent_in_vain=sender.in_vain,
        ills=fate.ills,
        seconds=round(time.monotonic() - began),
    )


def _unasked(line: str) -> bool:
    with suppress(ValueError):
        return bool(json.loads(line).get("exit_status") != -signal.SIGKILL)
    return True


def main() -> int:
    """Have the night, print what is told of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--kill-seconds", type=float, default=9.0)
    parser.add_argument("--objects", default="sr,capture")
    parser.add_argument("--limit-seconds", type=float, default=7200.0)
    parser.add_argument("--networks", action="store_true")
    arguments = parser.parse_args()
    # Asked to stop, it takes its node and its disk with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    night = Night(
        arguments.films,
        arguments.size,
        tuple(arguments.objects.split(",")),
        arguments.kill_seconds,
        networks=arguments.networks,
        limit_seconds=arguments.limit_seconds,
    )
    with tempfile.TemporaryDirectory() as name:
        try:
            told = spend(Path(name), night, lambda line: print(line, flush=True))
        except PermissionError as error:
            print(f"skipped: {error}")
            return 0
        kept = os.environ.get("LONG_NIGHT_LOG")
        if kept:
            Path(kept).write_text((Path(name) / "node" / "node.log").read_text("utf-8"), "utf-8")
    print(told)
    print("each film once" if told.is_well else "NOT each film once")
    return 0 if told.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
