"""What a monitor costs as the ledger fills: ``python benchmarks/scrape.py [--rows 10000 1000000]``.

Makes a ledger of each size and tells, of each answer, milliseconds wall and processor (the median
of ``--times``), and how many events a second are counted by a monitor that has much to catch up
with.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from full_ledger import make

from dicom_node.ledger import open_ledger
from dicom_node.line.lookout import Lookout
from dicom_node.line.troubles import troubles
from dicom_node.records import ROLES, Worker
from dicom_node.settings import load_configuration


def timed(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the median milliseconds of ``work``, wall and processor."""
    wall, cpu = [], []
    for _ in range(times):
        begun, used = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - begun) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    return statistics.median(wall), statistics.median(cpu)


def measure(folder: Path, rows: int, times: int) -> None:
    (folder / "node.toml").write_text("[node]\nmin_free_bytes = 0\n", "utf-8")
    configuration = load_configuration(folder, data_dir=folder / "data")
    configuration.data_dir.mkdir()
    make(configuration.ledger_path, rows)
    with closing(open_ledger(configuration.ledger_path, who="monitor")) as ledger:
        worker = Worker("monitor", "me")
        for role in ROLES:
            ledger.beat(worker if role == "monitor" else Worker(role, role), "working")
        lookout = Lookout(configuration, lambda: configuration.remotes, worker, os.getppid())
        lookout.furnish(ledger)
        ledger._connection.run("update counted set event_id = 0")
        begun, counted = time.perf_counter(), 0
        while step := ledger.count_events(()):
            counted += step
        if counted:
            speed = counted / (time.perf_counter() - begun)
            print(f"{rows:>9} films  {counted} events counted at {speed:.0f} a second")
        answers = {
            "/metrics": lambda: lookout.metrics(""), "/readyz": lookout.readyz,
            "/healthz": lookout.healthz,
            "looking for alarms": lambda: list(troubles(ledger, configuration)),
            "nothing to count": lambda: ledger.count_events(()),
        }  # fmt: skip
        for name, work in answers.items():
            wall, cpu = timed(work, times)
            print(f"{rows:>9} films  {name:<20} {wall:8.2f} ms wall {cpu:8.2f} ms processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measure(Path(folder), rows, arguments.times)


if __name__ == "__main__":
    main()
