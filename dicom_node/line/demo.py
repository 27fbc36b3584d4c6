"""The node's main job on one machine: a small PACS sends a film and gets its answer back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from dicom_node.errors import RoleError
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.ledger import open_ledger
from dicom_node.line.by_hand import read_film
from dicom_node.line.health import port_of
from dicom_node.line.small_pacs import small_pacs
from dicom_node.records import InstanceState
from dicom_node.results.capture import save_picture
from dicom_node.results.narrative import report_text

NODE, PACS = "DICOMNODE", "DEMOPACS"
_POLL_SECONDS = 0.2
_OPACITIES = {"right_lower": 0.8, "left_lower": 0.7, "right_middle": 0.4}

_CONFIGURATION = """\
[node]
ae_title = "{node}"
host = "127.0.0.1"
port = 0
min_free_bytes = 0

[web]
port = 0

[monitor]
port = 0
"""

_REMOTE = """\
ae_title = "{pacs}"
host = "127.0.0.1"
port = {port}
addresses = ["127.0.0.1/32"]
"""


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo leaves behind and what it prints."""

    report: str
    files: tuple[Path, ...]
    seconds: float


def demonstrate(image: Path | None, out: Path, say: Callable[[str], None]) -> DemoOutcome:
    """Send one film to a node and collect what comes back over C-STORE into ``out``.

    ``image``: DICOM, PNG or JPEG; None takes the phantom. ``say`` gets one sentence a step. Raises
    `RoleError` when no answer comes, with what the node said.
    """
    out.mkdir(parents=True, exist_ok=True)
    work = out / ".demo"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    film = _film(image, work)
    inbox = work / "pacs"
    with small_pacs(PACS, inbox) as port:
        say(f"A small PACS ({PACS}) listens on port {port}.")
        _configure(work, port)
        with _node(work) as node_port:
            say(f"The node ({NODE}) listens on port {node_port}.")
            started = time.monotonic()
            _send(film, node_port)
            say(f"{PACS} has sent the film by C-STORE; the node has it safely on disk.")
            say("Waiting for the networks (their first start takes a while) …")
            objects = _await_results(inbox, work)
            seconds = time.monotonic() - started
    files = _collect(objects, out)
    report = (out / "report.txt").read_text("utf-8")
    shutil.rmtree(work, ignore_errors=True)
    return DemoOutcome(report, files, seconds)


def _film(image: Path | None, work: Path) -> Path:
    path = work / "film.dcm"
    dataset = phantom_dataset(opacities=_OPACITIES) if image is None else read_film(image)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _configure(work: Path, port: int) -> None:
    folder = work / "config"
    (folder / "remotes").mkdir(parents=True)
    (folder / "node.toml").write_text(_CONFIGURATION.format(node=NODE), "utf-8")
    remote = _REMOTE.format(pacs=PACS, port=port)
    (folder / "remotes" / "demo-pacs.toml").write_text(remote, "utf-8")


@contextmanager
def _node(work: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(work / "config")]
    command += ["--data-dir", str(work / "data")]
    with (work / "node.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield _await_port(work, process)
        finally:
            process.terminate()
            process.wait()


def _await_port(work: Path, process: subprocess.Popen[bytes], limit: float = 60.0) -> int:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.poll() is None:
        ledger_path = work / "data" / "ledger.sqlite"
        if ledger_path.exists():
            ledger = open_ledger(ledger_path, who="demo")
            port = port_of(ledger, "receive")
            ledger.close()
            if port is not None:
                return port
        time.sleep(_POLL_SECONDS)
    raise RoleError("The node did not start.", remedy=_last_words(work))


def _send(film: Path, port: int) -> None:
    command = [sys.executable, "-m", "dicom_node", "send", str(film), "--to", f"127.0.0.1:{port}"]
    command += ["--aec", NODE, "--aet", PACS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RoleError("The node did not take the film.", remedy=done.stdout + done.stderr)


def _await_results(inbox: Path, work: Path, limit: float = 300.0) -> list[Path]:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        received = sorted(inbox.glob("*.dcm"))
        kinds = {pydicom.dcmread(path, stop_before_pixels=True).Modality for path in received}
        if "SR" in kinds and len(kinds) > 1:
            return received
        ended = _ended_without_result(work)
        if ended is not None:
            raise RoleError(f"The node has no result for this film: {ended}.", remedy=_USE_A_FILM)
        time.sleep(_POLL_SECONDS)
    raise RoleError(f"No result came back within {limit:.0f} s.", remedy=_last_words(work))


_WITHOUT_RESULT = {InstanceState.DECLINED, InstanceState.FAILED}
_USE_A_FILM = (
    "Give --image a frontal chest radiograph (DICOM, PNG or JPEG), or none for the phantom."
)


def _ended_without_result(work: Path) -> str | None:
    ledger = open_ledger(work / "data" / "ledger.sqlite", who="demo")
    try:
        for study in ledger.studies():
            films = ledger.instances(study.id)
            if films and all(film.state in _WITHOUT_RESULT for film in films):
                return "; ".join(film.reason for film in films if film.reason)
        return None
    finally:
        ledger.close()


def _last_words(work: Path) -> str:
    lines = (work / "node.log").read_text("utf-8", errors="replace").splitlines()
    return "The node's last words:\n" + "\n".join(lines[-5:])


def _collect(objects: list[Path], out: Path) -> tuple[Path, ...]:
    files = []
    for path in objects:
        dataset = pydicom.dcmread(path)
        name = "report" if dataset.Modality == "SR" else "overlay"
        target = out / f"{name}.dcm"
        shutil.copy(path, target)
        files.append(target)
        if name == "report":
            text = out / "report.txt"
            text.write_text(report_text(dataset), "utf-8")
            files.append(text)
        else:
            picture = out / "overlay.png"
            save_picture(target, picture)
            files.append(picture)
    return tuple(files)
