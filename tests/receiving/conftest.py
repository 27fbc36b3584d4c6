"""A receiver as a process of its own, with short time-outs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import Instance
from tests.node.peers import wait_for
from tests.receiving.hostile import LATEST_SECONDS, threads_of, wait_until_alone

PDU_SECONDS = 1.5

NODE = """\
[node]
ae_title = "DICOMNODE"
host = "127.0.0.1"
port = 0
min_free_bytes = 0
pdu_timeout_seconds = {pdu_seconds}
idle_timeout_seconds = 6.0
max_associations = 16
max_associations_per_address = 16
max_object_bytes = 20000000
drain_seconds = {drain_seconds}
"""


@dataclass
class Receiver:
    """A running receiving role."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    resting_threads: int = 0
    """How many threads it had before anybody called."""

    @property
    def spool(self) -> Path:
        return self.folder / "data" / "spool"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.folder / "receive.log").read_text("utf-8")

    def start(self, *prefix: str) -> None:
        command = [*prefix, sys.executable, "-m", "dicom_node.roles.process", "receive"]
        command += ["--config", str(self.folder / "config")]
        command += ["--data-dir", str(self.folder / "data")]
        with (self.folder / "receive.log").open("a") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.port = wait_for(self._port, LATEST_SECONDS, "the receiver listens")
        self.resting_threads = threads_of(self.pid)

    def _port(self) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        for line in self.log.splitlines()[::-1]:
            if '"role.started"' in line:
                import json

                entry = json.loads(line)
                return int(entry["port"]) if Path(f"/proc/{entry['pid']}").exists() else 0
        return 0

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LATEST_SECONDS)

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        ledger = open_ledger(self.folder / "data" / "ledger.sqlite", who="test")
        try:
            yield ledger
        finally:
            ledger.close()

    def instances(self) -> list[Instance]:
        with self.ledger() as ledger:
            return [item for study in ledger.studies() for item in ledger.instances(study.id)]

    def left_overs(self) -> list[Path]:
        return list((self.spool / "incoming").iterdir())

    def associate(
        self,
        *sop_classes: str,
        calling: str = "MOD1",
        called: str = "DICOMNODE",
        syntax: str | None = None,
        address: str = "127.0.0.1",
    ) -> Association:
        entity = AE(calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        for uid in sop_classes or ("1.2.840.10008.1.1",):
            entity.add_requested_context(uid, *([syntax] if syntax else []))
        return entity.associate("127.0.0.1", self.port, ae_title=called, bind_address=(address, 0))

    def echo(self) -> int:
        association = self.associate()
        assert association.is_established
        status = int(association.send_c_echo().Status)
        association.release()
        return status

    def store(self, dataset: Dataset) -> int:
        syntax = dataset.file_meta.TransferSyntaxUID
        association = self.associate(dataset.SOPClassUID, syntax=syntax)
        assert association.is_established
        status = int(association.send_c_store(dataset).Status)
        association.release()
        return status


def make_receiver(
    folder: Path, pdu_seconds: float = PDU_SECONDS, extra: str = "", drain_seconds: float = 3.0
) -> Receiver:
    (folder / "config" / "remotes").mkdir(parents=True)
    text = NODE.format(pdu_seconds=pdu_seconds, drain_seconds=drain_seconds) + extra
    (folder / "config" / "node.toml").write_text(text, "utf-8")
    for title, more in (
        ("MOD1", ""),
        ("FIXED", 'addresses = ["127.0.0.1/32"]\n'),
        ("Loose", "case_insensitive = true\n"),
    ):
        remote = f'ae_title = "{title}"\nhost = "127.0.0.1"\nport = 104\n{more}'
        (folder / "config" / "remotes" / f"{title.lower()}.toml").write_text(remote, "utf-8")
    return Receiver(folder)


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    made = make_receiver(tmp_path_factory.mktemp("receiver"))
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture
def receiver(_running: Receiver) -> Iterator[Receiver]:
    """The receiver of this file's tests; each leaves it without peers, as it found it."""
    yield _running
    wait_until_alone(_running.port)


@pytest.fixture
def own_receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """Return a function that makes a receiver for one test alone; not started."""
    made: list[Receiver] = []

    def make(**keys: object) -> Receiver:
        made.append(make_receiver(tmp_path / f"receiver{len(made)}", **keys))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()
