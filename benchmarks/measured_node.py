"""A node on loopback as benchmarks need it: what each role costs, and a brain that is a stub."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pydicom

from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.records import ROLES
from tests.node.peers import RunningNode

STUB = Path(__file__).with_name("stub_brain.py")
_TICKS = os.sysconf("SC_CLK_TCK")
_SEED_OPACITIES = {"right_lower": 0.8, "left_lower": 0.6}


def cpu_seconds_of(pid: int) -> float:
    """Return what a process and its ended children have used: user and system, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICKS


def children_of(pid: int) -> list[int]:
    """Return the living children of a process."""
    try:
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def role_of(pid: int) -> str:
    """Return which role a process has, "" where it is none or gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return words[3] if len(words) > 3 and words[2] == "dicom_node.roles.process" else ""


def roles_of(node: RunningNode) -> dict[int, str]:
    """Return the node's living processes and their roles, without asking its ledger."""
    assert node.process is not None
    found = {pid: role_of(pid) for pid in children_of(node.process.pid)}
    return {pid: role for pid, role in found.items() if role}


def cpu_by_role(node: RunningNode, stub: StubWorker | None = None) -> dict[str, float]:
    """Return what each role has cost so far, its workers together, and the supervisor."""
    assert node.process is not None
    costs = {"supervisor": cpu_seconds_of(node.process.pid)}
    for pid, role in roles_of(node).items():
        costs[role] = costs.get(role, 0.0) + cpu_seconds_of(pid)
    if stub is not None and stub.process is not None:
        costs["analyse"] = cpu_seconds_of(stub.process.pid)
    return costs


@dataclass
class StubWorker:
    """The stub brain as a process beside a node that has no analysing role of its own."""

    node: RunningNode
    milliseconds: float = 5.0
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    dead: set[str] = field(default_factory=set)
    """Whose leases are to be ended yet."""

    def start(self) -> None:
        self.token = secrets.token_hex(8)
        command = [sys.executable, str(STUB), "--config", str(self.node.config), "--data-dir",
                   str(self.node.data_dir), "--token", self.token,
                   "--milliseconds", str(self.milliseconds)]  # fmt: skip
        with (self.node.folder / "node.log").open("a") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def tend(self) -> bool:
        """Start it anew where it ended, as the supervisor does; return whether it had ended."""
        assert self.process is not None
        if self.process.poll() is None:
            return False
        self.dead.add(self.token)
        self.start()
        return True

    def bury(self) -> None:
        """End the leases of those that died."""
        if not self.dead:
            return
        with self.node.ledger() as ledger:
            for token in sorted(self.dead):
                ledger.orphaned(token)
                self.dead.discard(token)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)


def all_but(*left_out: str) -> str:
    """Return what ``serve --role`` is told: every role but these."""
    return ",".join(role for role in ROLES if role not in left_out)


def set_in(node: RunningNode, *lines: str, port: int | None = None) -> None:
    """Add sections to a node's configuration; ``port``: where it always listens."""
    path = node.config / "node.toml"
    text = path.read_text("utf-8")
    if port is not None:
        text = text.replace("port = 0", f"port = {port}", 1)
    path.write_text(text + "\n" + "\n".join(lines) + "\n", "utf-8")


def make_films(folder: Path, count: int, size: int) -> list[Path]:
    """Write ``count`` films of one drawing, each of a patient and a study of its own."""
    folder.mkdir(exist_ok=True)
    film = phantom_dataset(seed=7, rows=size, columns=size, opacities=_SEED_OPACITIES)
    paths = []
    for number in range(count):
        film.PatientID = f"NIGHT{number}"
        film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID = (
            pydicom.uid.generate_uid(entropy_srcs=[str(folder), str(number), what])
            for what in ("study", "series", "film")
        )
        film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
        paths.append(folder / f"{number:05d}.dcm")
        film.save_as(paths[-1], enforce_file_format=True)
    return paths
