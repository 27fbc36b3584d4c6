"""What a film costs through the whole node: against the bare networks, and against what it was.

``python benchmarks/end_to_end.py [--films 12] [--json]`` prints, for films of each size: a fixed
yardstick (60 passes of a Keras ResNet-50 on one thread), the bare networks on decoded films, the
node as it was before its line's second edition (recorded in ``before.json`` with the yardstick of
its machine, scaled by this one's), the node as it is from socket to socket, their ratios,
CPU-seconds a film by role, and the latency of one film with its aim. Processor time is what
counts: other work on the machine changes wall time alone.

The engine is the configured one: ``DICOM_NODE__ANALYSIS__ENGINE=keras`` before the command takes
Keras, by which what was before was measured, too.

``--stub-brain 5`` has a stub answer each film after so many milliseconds, with four reporters: what
a GPU needs beside it, in films/s a core that writes results.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pydicom
from rich.console import Console
from rich.table import Table

from benchmarks.measured_node import StubWorker, all_but, cpu_by_role, set_in
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.line.networks import engine_of
from dicom_node.settings import load_configuration
from tests.node.peers import RunningNode, Storescp, free_port, make_node, wait_for

CONSOLE = Console()
SINGLE = 5
SIZES = (1024, 1536)
BEFORE = Path(__file__).with_name("before.json")
_REPORTERS = 4
_YARDSTICK = """
import time, keras, numpy
network = keras.applications.ResNet50(weights=None)
film = numpy.zeros((1, 224, 224, 3), numpy.float32)
network.predict_on_batch(film)
began = time.process_time()
for _ in range(60):
    network.predict_on_batch(film)
print(time.process_time() - began)
"""


@dataclass(frozen=True)
class Bare:
    """The networks alone, and decoding, in this process."""

    films_a_second: float
    cpu_seconds: float
    """Of the networks, a film."""

    seconds: float
    """Decoding one film and asking the networks, when nothing else is asked."""

    engine: str
    """Who computed."""


@dataclass(frozen=True)
class Whole:
    """The whole node on films of one size."""

    size: int
    films: int
    films_a_second: float
    latency_seconds: float
    cpu_by_role: dict[str, float]

    @property
    def cpu_seconds(self) -> float:
        """What a film costs all roles together."""
        return sum(self.cpu_by_role.values())


@dataclass
class Run:
    """Everything of one run, for ``--json``."""

    yardstick: float
    bare: dict[int, Bare] = field(default_factory=dict)
    whole: dict[int, Whole] = field(default_factory=dict)


def make_films(folder: Path, count: int, first: int, size: int) -> list[Path]:
    """Write ``count`` different phantoms of ``size`` x ``size`` pixels, each its own study."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(first, first + count):
        path = folder / f"{number:04d}.dcm"
        dataset = phantom_dataset(seed=number, rows=size, columns=size)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def yardstick() -> float:
    """Return what 60 passes of a ResNet-50 at 224 cost on one thread, in CPU-seconds."""
    command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-c", _YARDSTICK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def bare(paths: Sequence[Path]) -> Bare:
    """Ask the networks alone."""
    engine = engine_of(load_configuration().settings)
    engine.warm()
    films = [(film_of(pydicom.dcmread(path)), str(number)) for number, path in enumerate(paths)]
    engine.analyse_many(films[:8])
    began, spent = time.perf_counter(), time.process_time()
    engine.analyse_many(films)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    alone = []
    for path in paths[:SINGLE]:
        began = time.perf_counter()
        engine.analyse_many([(film_of(pydicom.dcmread(path)), "alone")])
        alone.append(time.perf_counter() - began)
    each = spent / len(films)
    return Bare(len(films) / seconds, each, statistics.median(alone), engine.computed_by)


def send(node: RunningNode, paths: Sequence[Path]) -> None:
    """Send the films on one association with DCMTK's storescu."""
    command = ["/usr/bin/storescu", "-R", "-xe", "-aet", "PACS", "-aec", "DICOMNODE", "127.0.0.1"]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    subprocess.run([*command, str(node.port), *map(str, paths)], check=True, env=environment)


def seconds_to_answer(node: RunningNode, pacs: Storescp, paths: Sequence[Path]) -> float:
    """Return the time from the first byte sent to the last result stored at the PACS."""
    goal = len(list(pacs.folder.iterdir())) + 2 * len(paths)
    began = time.perf_counter()
    send(node, paths)
    wait_for(lambda: len(list(pacs.folder.iterdir())) >= goal, 1800, "all results are back")
    return time.perf_counter() - began


@contextmanager
def started(
    folder: Path, stub_milliseconds: float | None
) -> Iterator[tuple[RunningNode, Storescp, StubWorker | None]]:
    """A node and its PACS; with the networks loaded, or with a stub."""
    folder.mkdir()
    pacs = Storescp("PACS", free_port(), folder / "pacs", Path("/usr/bin/storescp"))
    pacs.start()
    node = make_node(folder / "node", quiet_seconds=0.0)
    node.add_remote("PACS", pacs.port)
    stub = None
    if stub_milliseconds is None:
        node.start()
    else:
        set_in(node, "[report]", f"workers = {_REPORTERS}")
        node.start(all_but("analyse"))
        stub = StubWorker(node, stub_milliseconds)
        stub.start()
    try:
        wait_for(lambda: all(map(node.pid_of, ("analyse", "report", "deliver"))), 300, "all work")
        yield node, pacs, stub
    finally:
        if stub is not None:
            stub.stop()
        node.stop()
        pacs.stop()


def whole(folder: Path, paths: Sequence[Path], size: int, stub: float | None = None) -> Whole:
    """Send the films through a node; its start, and what it costs, is not counted."""
    singles = make_films(folder.with_name(f"{folder.name}-singles"), SINGLE, 10_000, size)
    with started(folder, stub) as (node, pacs, worker):
        latencies = [seconds_to_answer(node, pacs, [path]) for path in singles]
        before = cpu_by_role(node, worker)
        seconds = seconds_to_answer(node, pacs, paths)
        costs = cpu_by_role(node, worker)
    by_role = {role: (cost - before.get(role, 0.0)) / len(paths) for role, cost in costs.items()}
    return Whole(size, len(paths), len(paths) / seconds, statistics.median(latencies), by_role)


def rows_of(run: Run, size: int) -> Iterator[tuple[str, str]]:
    """Return the rows of the table of one size."""
    networks, node = run.bare[size], run.whole[size]
    known = json.loads(BEFORE.read_text("utf-8"))
    before, scale = known["sizes"].get(str(size)), run.yardstick / known["yardstick"]
    yield "yardstick", f"{run.yardstick:.2f} CPU-s (recorded with before: {known['yardstick']})"
    yield (
        "bare networks",
        f"{networks.films_a_second:.2f} films/s, {networks.cpu_seconds:.3f} CPU-s"
        f" ({networks.engine})",
    )
    if before is not None:
        yield "whole node, before", f"{before['cpu_seconds'] * scale:.3f} CPU-s a film"
    yield (
        "whole node, now",
        f"{node.cpu_seconds:.3f} CPU-s a film, {node.films_a_second:.2f} films/s",
    )
    if before is not None:
        yield "now to before, CPU", f"{node.cpu_seconds / (before['cpu_seconds'] * scale):.2f}"
    yield "node to bare networks, CPU", f"{networks.cpu_seconds / node.cpu_seconds:.2f}"
    yield "node to bare networks, films/s", f"{node.films_a_second / networks.films_a_second:.2f}"
    yield from costs_of(node, before["cpu_by_role"] if before else {}, scale)
    aim = 2 * networks.seconds + 0.2
    yield "one film, answered", f"{node.latency_seconds:.2f} s (aim: {aim:.2f} s)"


def costs_of(node: Whole, before: dict[str, float], scale: float) -> Iterator[tuple[str, str]]:
    """Return what each role costs, and what it did."""
    for role in sorted({*node.cpu_by_role, *before}):
        was = f" (before: {1000 * before[role] * scale:.0f})" if role in before else ""
        yield f"  {role}", f"{1000 * node.cpu_by_role.get(role, 0.0):.0f} CPU-ms{was}"


def show(title: str, rows: Iterator[tuple[str, str]]) -> None:
    """Print a table."""
    table = Table("figure", "value", title=title)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)


def with_stub(folder: Path, films: int, sizes: Sequence[int], milliseconds: float) -> list[Whole]:
    """Measure the house without networks."""
    measured = []
    for size in sizes:
        paths = make_films(folder / f"films{size}", films, 0, size)
        node = whole(folder / f"node{size}", paths, size, milliseconds)
        measured.append(node)
    return measured


def stub_rows(node: Whole) -> Iterator[tuple[str, str]]:
    """Return the rows of the table of a house without networks."""
    yield "whole node", f"{node.films_a_second:.2f} films/s, {node.cpu_seconds:.3f} CPU-s a film"
    yield "a core that writes results", f"{1 / node.cpu_by_role['report']:.2f} films/s"
    yield "a core that does all but the networks", f"{1 / node.cpu_seconds:.2f} films/s"
    yield from costs_of(node, {}, 1.0)
    yield "one film, answered", f"{node.latency_seconds:.2f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--stub-brain", type=float, metavar="MILLISECONDS")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.stub_brain is not None:
            nodes = with_stub(folder, arguments.films, sizes, arguments.stub_brain)
            if arguments.json:
                print(json.dumps([asdict(node) for node in nodes]))
            for node in () if arguments.json else nodes:
                show(_title(node, f", brain: {arguments.stub_brain:g} ms"), stub_rows(node))
            return
        run = Run(yardstick())
        for size in sizes:
            paths = make_films(folder / f"films{size}", arguments.films, 0, size)
            run.whole[size] = whole(folder / f"node{size}", paths, size)
            run.bare[size] = bare(paths)
    if arguments.json:
        print(json.dumps(asdict(run)))
        return
    for size in sizes:
        show(_title(run.whole[size]), rows_of(run, size))


def _title(node: Whole, more: str = "") -> str:
    return f"{node.films} films of {node.size} x {node.size}, 16 bit{more}"


if __name__ == "__main__":
    main()
