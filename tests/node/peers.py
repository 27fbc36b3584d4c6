"""The node and its peers as real processes on loopback."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from pydicom import Dataset

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger

T = TypeVar("T")

NODE_CONFIGURATION = """\
[node]
ae_title = "DICOMNODE"
host = "127.0.0.1"
port = 0
min_free_bytes = 0

[delivery]
retry_first_seconds = 0.5
retry_longest_seconds = 2.0
answer_timeout_seconds = 5.0

[results]
quiet_seconds = {quiet_seconds}

[monitor]
port = 0

[web]
port = 0
"""


ON_DATA = {"ae", "backup", "cases", "doctor", "health", "outbox", "restore", "user"}
"""Commands that look at what a node has, or change it."""

ENGINES = Path(__file__).parents[2] / ".pytest_cache" / "engines"
"""What OpenVINO makes of the networks is made once for all nodes, and kept from run to run."""


def wait_for(what: Callable[[], T], seconds: float, why: str) -> T:
    """Return the first truthy answer of ``what``; fail with ``why`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {why}")


def free_port() -> int:
    """Return a port that no outgoing connection can take meanwhile: below the ephemeral range."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@dataclass
class RunningNode:
    """A served node: its folders, its port, its process."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "node.log").read_text("utf-8")

    def add_remote(self, ae_title: str, port: int, **keys: Any) -> None:
        lines = [f'ae_title = "{ae_title}"', 'host = "127.0.0.1"', f"port = {port}"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        path = self.config / "remotes" / f"{ae_title.lower()}.toml"
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def start(self, role: str | None = None) -> None:
        command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(self.config)]
        command += ["--data-dir", str(self.data_dir)]
        command += ["--role", role] if role else []
        log = (self.folder / "node.log").open("a")
        environment = {**os.environ, **self.environment}
        self.process = subprocess.Popen(command, stderr=log, env=environment)
        log.close()
        self.port = wait_for(self._listening_port, 120, "the receiver listens")

    def _listening_port(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        if not (self.data_dir / "ledger.sqlite").exists():
            return 0
        with self.ledger() as ledger:
            for beat in ledger.beats():
                # A beat of an earlier process names a port nobody listens on any more.
                alive = Path(f"/proc/{beat.pid}").exists()
                if beat.role == "receive" and alive and "port=" in (beat.detail or ""):
                    return int((beat.detail or "").split("port=")[1].split()[0])
        return 0

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def pid_of(self, role: str) -> int:
        with self.ledger() as ledger:
            beats = {beat.role: beat.pid for beat in ledger.beats() if beat.state == "working"}
        return beats.get(role, 0)

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        ledger = open_ledger(self.data_dir / "ledger.sqlite", who="test")
        try:
            yield ledger
        finally:
            ledger.close()

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on this node; ``given``: what it reads from standard input."""
        command = [sys.executable, "-m", "dicom_node", *arguments]
        if arguments[0] not in {"send", "report", "models"}:
            command += ["--config", str(self.config)]
        if arguments[0] in {
            "cases",
            "outbox",
            "health",
            "ae",
            "user",
            "backup",
            "restore",
            "doctor",
        }:
            command += ["--data-dir", str(self.data_dir)]
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=120
        )

    def finished(self) -> bool:
        with self.ledger() as ledger:
            return ledger.unfinished() == 0


def make_node(folder: Path, quiet_seconds: float = 0.5, disk: Path | None = None) -> RunningNode:
    """Return a node with an empty AE table that is not started yet; ``disk``: where its data is."""
    (folder / "config" / "remotes").mkdir(parents=True)
    text = NODE_CONFIGURATION.format(quiet_seconds=quiet_seconds)
    (folder / "config" / "node.toml").write_text(text, "utf-8")
    node = RunningNode(folder)
    ENGINES.mkdir(parents=True, exist_ok=True)
    if disk is None:
        node.data_dir.mkdir(mode=0o700)
    else:
        node.data_dir.symlink_to(disk)
    (node.data_dir / "engines").symlink_to(ENGINES)
    return node


@dataclass
class Storescp:
    """DCMTK's storescp as a PACS: what it received lies in a folder."""

    ae_title: str
    port: int
    folder: Path
    program: Path
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        command = [str(self.program), "--fork", "-aet", self.ae_title, "-od", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, *self.options, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: _connects(self.port), 30, "storescp listens")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def received(self) -> list[Dataset]:
        return [
            pydicom.dcmread(path, force=True)
            for path in sorted(self.folder.iterdir())
            if path.stat().st_size > 0
        ]

    def modalities(self) -> list[str]:
        return sorted(str(item.get("Modality", "")) for item in self.received())


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Orthanc:
    """Orthanc as a PACS, steered by its REST API."""

    ae_title: str
    dicom_port: int
    http_port: int
    folder: Path
    program: Path
    process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        node_port: int,
        more: dict[str, list[object]] | None = None,
        **settings_too: object,
    ) -> None:
        """Start it; ``more``: further modalities, ``settings_too``: keys of its configuration."""
        settings = {
            "Name": "pacs",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": {"node": ["DICOMNODE", "127.0.0.1", node_port], **(more or {})},
            "Plugins": [],
            **settings_too,
        }
        self.folder.mkdir(exist_ok=True)
        (self.folder / "orthanc.json").write_text(json.dumps(settings), "utf-8")
        log = (self.folder / "orthanc.log").open("w")
        self.process = subprocess.Popen(
            [str(self.program), str(self.folder / "orthanc.json")], stdout=log, stderr=log
        )
        log.close()
        wait_for(lambda: _connects(self.http_port), 30, "Orthanc answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def call(self, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


PROPOSE = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
}
"""DCMTK's option that proposes a Transfer Syntax."""


def storescu(
    program: Path, node: RunningNode, calling_ae_title: str, file: Path
) -> subprocess.CompletedProcess[str]:
    """Send one file with DCMTK in the Transfer Syntax it has."""
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    syntax = str(header.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    command = [str(program), "-R", PROPOSE[syntax], "-aet", calling_ae_title, "-aec", "DICOMNODE"]
    return subprocess.run(
        [*command, "127.0.0.1", str(node.port), str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
