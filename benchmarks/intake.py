"""How fast instances are taken in: this node, DCMTK's storescp and Orthanc in the same run.

``python benchmarks/intake.py`` sends objects of 0.5 MB and 10 MB with DCMTK's storescu on 1 and 4
associations and prints instances/s, MB/s and the ratio of this node to each peer. This node answers
only what is synced to disk and in its ledger; storescp syncs nothing.

Each load runs twice: with the peers and the sender as they come, and with ``TCP_NODELAY=1`` in the
environment of all of them. Without it DCMTK, and Orthanc which is built on it, hold each answer
back for 40 ms: on small objects those ratios measure that, and not the receivers.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pydicom
from rich.console import Console
from rich.table import Table

from dicom_node.imaging.phantom import Encoding, phantom_dataset
from tests.node.peers import Orthanc, Storescp, free_port, make_node, wait_for

STORESCU = "/usr/bin/storescu"


@dataclass(frozen=True)
class Load:
    """What is sent: ``count`` objects of ``megabytes`` each, on ``associations`` at once."""

    megabytes: float
    count: int
    associations: int
    nodelay: bool

    def __str__(self) -> str:
        extra = ", NODELAY" if self.nodelay else ""
        return f"{self.count} x {self.megabytes} MB, {self.associations} assoc.{extra}"


LOADS = [
    Load(megabytes, count, associations, nodelay)
    for nodelay, (megabytes, count), associations in itertools.product(
        [False, True], [(10.0, 40), (0.5, 200)], [1, 4]
    )
]

_number = itertools.count()


def make_objects(folder: Path, load: Load) -> list[Path]:
    """Write objects with UIDs never used before, noise as pixels."""
    folder.mkdir(parents=True)
    side = round((load.megabytes * 1e6 / 2) ** 0.5)
    buffer = io.BytesIO()
    base = phantom_dataset(rows=64, columns=64, encoding=Encoding(kind="CR", bits=16))
    base.save_as(buffer, enforce_file_format=True)
    dataset = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = (
        np.random.default_rng(0).integers(0, 65535, side * side, np.uint16).tobytes()
    )
    paths = []
    for place in range(load.count):
        uid = f"2.25.{time.time_ns()}{next(_number)}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
        paths.append(folder / f"{place:04d}.dcm")
        dataset.save_as(paths[-1])
    return paths


def seconds_to_send(paths: list[Path], port: int, called: str, load: Load) -> float:
    """Return the time until every association is released. Fails if one instance is refused."""
    command = [STORESCU, "-R", "-xe", "-aet", "PACS", "-aec", called, "127.0.0.1", str(port)]
    shares = [paths[start :: load.associations] for start in range(load.associations)]
    started = time.perf_counter()
    senders = [subprocess.Popen([*command, *map(str, share)]) for share in shares]
    statuses = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - started
    assert statuses == [0] * load.associations, f"{called} refused instances"
    return seconds


@contextmanager
def this_node(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve the receiving role alone, as on a machine where analysis runs elsewhere."""
    node = make_node(folder)
    node.add_remote("PACS", 104)
    node.start("receive")
    try:
        yield node.port, "DICOMNODE"
    finally:
        node.stop()


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve DCMTK's storescp, one process an association."""
    peer = Storescp("STORESCP", free_port(), folder, Path("/usr/bin/storescp"))
    peer.start()
    try:
        yield peer.port, "STORESCP"
    finally:
        peer.stop()


@contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve Orthanc as Debian ships it."""
    program = next(path for path in (Path("/usr/sbin/Orthanc"), Path("/usr/bin/Orthanc"))
                   if path.exists())  # fmt: skip
    peer = Orthanc("ORTHANC", free_port(), free_port(), folder, program)
    peer.start(104, {"PACS": ["PACS", "127.0.0.1", 104]})
    wait_for(lambda: peer.call("/system"), 30, "Orthanc answers")
    try:
        yield peer.dicom_port, "ORTHANC"
    finally:
        peer.stop()


@contextmanager
def nodelay_set(wanted: bool) -> Iterator[None]:
    """Let every process started meanwhile have ``TCP_NODELAY=1``, or not."""
    if wanted:
        os.environ["TCP_NODELAY"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TCP_NODELAY", None)


def measure(folder: Path, loads: list[Load], table: Table) -> None:
    """Start the three receivers, send each load to each of them, add a row a load."""
    folder.mkdir()
    with (
        this_node(folder / "node") as own,
        storescp(folder / "storescp") as dcmtk,
        orthanc(folder / "orthanc") as pacs,
    ):
        for number, load in enumerate(loads):
            rates = []
            for place, (port, called) in enumerate((own, dcmtk, pacs)):
                paths = make_objects(folder / f"load{number}-{place}", load)
                rates.append(load.count / seconds_to_send(paths, port, called, load))
                for path in paths:
                    path.unlink()
            shown = [f"{rate:.0f} ({rate * load.megabytes:.0f})" for rate in rates]
            ratios = [f"{rates[0] / rates[1]:.2f}", f"{rates[0] / rates[2]:.2f}"]
            table.add_row(str(load), *shown, *ratios)


def main() -> None:
    """Measure each load against each receiver and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the instances")
    quick = parser.parse_args().quick
    loads = [replace(load, count=load.count // 4) if quick else load for load in LOADS]
    table = Table(title="instances/s (MB/s)")
    for column in ("load", "this node", "storescp", "Orthanc", "to storescp", "to Orthanc"):
        table.add_column(column, justify="left" if column == "load" else "right")
    with tempfile.TemporaryDirectory() as name:
        for nodelay in (False, True):
            with nodelay_set(nodelay):
                chosen = [load for load in loads if load.nodelay == nodelay]
                measure(Path(name) / f"nodelay-{nodelay}", chosen, table)
    Console().print(table)


if __name__ == "__main__":
    main()
