"""Kill a receiver at a system call, and look what is left of what it acknowledged."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pydicom

from tests.conftest import debian
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS
from tests.receiving.store_kit import film

SMALL, LARGE = 256, 512
"""Rows and columns of films that come in memory, and of those that go to disk as they come."""


def films(folder: Path, count: int, size: int = SMALL) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        film(900 + number, size=size).save_as(path)
    return paths


def acknowledged(receiver: Receiver, paths: list[Path]) -> set[str]:
    """Send the films on one association with DCMTK; return the UIDs answered 0x0000.

    One association is one thread of the receiver: strace counts system calls a thread.
    """
    command = [str(debian("storescu")), "-v", "-nh", "-R", "-xe", "-aet", "MOD1", "-aec"]
    done = subprocess.run(
        [*command, "DICOMNODE", "-to", "30", "-ta", "30", "-td", "30", "127.0.0.1",
         str(receiver.port), *map(str, paths)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    answered, sending = set(), None
    for line in (done.stdout + done.stderr).splitlines():
        if "Sending file: " in line:
            sending = Path(line.split("Sending file: ")[1].strip())
        if "Received Store Response (Success)" in line and sending is not None:
            answered.add(str(pydicom.dcmread(sending, stop_before_pixels=True).SOPInstanceUID))
    return answered


def check_nothing_is_lost(receiver: Receiver, answered: set[str]) -> None:
    rows = {item.sop_instance_uid: item for item in receiver.instances()}
    assert answered <= set(rows)
    for row in rows.values():
        data = (receiver.spool / row.digest[:2] / row.digest).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.digest


def killed_at(receiver: Receiver, paths: list[Path], call: str, when: int) -> set[str]:
    inject = f"inject={call}:signal=SIGKILL:when={when}+"
    trace = str(receiver.folder / "trace")
    command = ("strace", "-f", "-qq", "-o", trace, "-e", f"trace={call}", "-e", inject)
    try:
        receiver.start(*command)
    except AssertionError:
        # Nothing was answered yet. But it must be the kill that ended it, not something else.
        assert receiver.process is not None
        assert receiver.process.wait(LATEST_SECONDS) != 0
        assert "killed by SIGKILL" in Path(trace).read_text(), receiver.log
        return set()
    answered = acknowledged(receiver, paths)
    assert receiver.process is not None
    if receiver.process.poll() is None:
        kill_traced(receiver)
    receiver.process.wait(LATEST_SECONDS)
    return answered


def kill_traced(receiver: Receiver) -> None:
    # Killing strace alone would leave the receiver alive.
    children = Path(f"/proc/{receiver.pid}/task/{receiver.pid}/children").read_text().split()
    for child in children:
        subprocess.run(["kill", "-9", child], check=False)


def own_receiver_again(receiver: Receiver) -> Receiver:
    (receiver.folder / "receive.log").unlink(missing_ok=True)
    receiver.start()
    return receiver
