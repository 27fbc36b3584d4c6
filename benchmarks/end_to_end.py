"""How long a film takes through the whole node, against the bare networks on the same films.

``python benchmarks/end_to_end.py [--films 24]`` starts a node and DCMTK's storescp on loopback,
prints a table: bare network (films/s), node (films/s, from first byte sent to last result stored at
the PACS), their ratio, and the latency of a single film (median of several).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.line.networks import engine_of
from dicom_node.settings import load_configuration
from tests.node.peers import RunningNode, Storescp, free_port, make_node, wait_for

CONSOLE = Console()
SINGLE = 5


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


def bare_films_a_second(paths: list[Path]) -> float:
    """Return the speed of the networks alone on films that are decoded already."""
    import pydicom

    engine = engine_of(load_configuration().settings)
    engine.warm()
    films = [(film_of(pydicom.dcmread(path)), str(number)) for number, path in enumerate(paths)]
    engine.analyse_many(films[:8])
    started = time.perf_counter()
    engine.analyse_many(films)
    return len(films) / (time.perf_counter() - started)


def send(node: RunningNode, paths: list[Path]) -> None:
    """Send the films on one association with DCMTK's storescu."""
    command = ["/usr/bin/storescu", "-R", "-xe", "-aet", "PACS", "-aec", "DICOMNODE", "127.0.0.1"]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    subprocess.run([*command, str(node.port), *map(str, paths)], check=True, env=environment)


def seconds_to_answer(node: RunningNode, pacs: Storescp, paths: list[Path]) -> float:
    """Return the time from the first byte sent to the last result stored at the PACS."""
    goal = len(list(pacs.folder.iterdir())) + 2 * len(paths)
    started = time.perf_counter()
    send(node, paths)
    wait_for(lambda: len(list(pacs.folder.iterdir())) >= goal, 900, "all results are back")
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--size", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_films(folder / "films", arguments.films, 0, arguments.size)
        singles = make_films(folder / "singles", SINGLE, 10_000, arguments.size)
        bare = bare_films_a_second(paths)
        pacs = Storescp("PACS", free_port(), folder / "pacs", Path("/usr/bin/storescp"))
        pacs.start()
        node = make_node(folder / "node", quiet_seconds=0.0)
        node.add_remote("PACS", pacs.port)
        node.start()
        try:
            wait_for(lambda: node.pid_of("analyse"), 180, "networks are loaded")
            latencies = [seconds_to_answer(node, pacs, [path]) for path in singles]
            through = arguments.films / seconds_to_answer(node, pacs, paths)
        finally:
            node.stop()
            pacs.stop()
    table = Table(title=f"{arguments.films} films of {arguments.size} x {arguments.size}, 16 bit")
    for column in ("figure", "value"):
        table.add_column(column)
    table.add_row("bare networks", f"{bare:.2f} films/s")
    table.add_row("whole node", f"{through:.2f} films/s")
    table.add_row("ratio", f"{through / bare:.2f}")
    table.add_row(
        "one film, answered", f"{statistics.median(latencies):.2f} s (median of {SINGLE})"
    )
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
