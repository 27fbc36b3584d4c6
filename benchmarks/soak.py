"""Thousands of films through a whole node; memory, descriptors, threads and files stay flat.

``python benchmarks/soak.py [--films 10000]`` starts a node with a stub brain (``--networks``: with
the real ones), sends each film once over a few associations, and takes its results with a PACS
that only counts. Every few seconds each role is looked at. Told are, by role, resident memory,
descriptors and threads half way and at the end, and the growth of memory a film by a line
through the second half; beside them left-overs in the spool and the ledger's bytes a film.
Exit status 1 where something grows; a role
warms up for some thousand films, so fewer say little.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from pynetdicom import AE, AllStoragePresentationContexts, evt

from benchmarks.long_night import Sender
from benchmarks.measured_node import StubWorker, all_but, make_films, roles_of, set_in
from tests.node.peers import RunningNode, free_port, make_node

_LOOK_SECONDS = 3.0
_SENDERS = 3
BYTES_A_FILM = 1024
"""Growth of a role's memory a film from which it is called a leak."""

ROOM = 3
"""Descriptors and threads more than half way that are no growth."""


@dataclass(frozen=True)
class Look:
    """A role at one moment: films taken so far, resident bytes, descriptors, threads."""

    films: int
    resident: int
    descriptors: int
    threads: int


def look(pid: int, films: int) -> Look | None:
    """Look at a process; None where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        told = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        resident = int(told["VmRSS"].split()[0]) * 1024
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Look(films, resident, descriptors, int(told["Threads"]))
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None


def counting_pacs(port: int, taken: Counter[str]) -> AE:
    """Start a PACS that takes everything and keeps nothing but how often each came."""

    def store(event: evt.Event) -> int:
        taken[str(event.request.AffectedSOPInstanceUID)] += 1
        return 0x0000

    ae = AE("PACS")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax)
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    return ae


def watch(
    node: RunningNode, stub: StubWorker | None, senders: list[Sender], films: int
) -> dict[str, list[Look]]:
    """Look at every role until all is sent and answered."""
    looks: dict[str, list[Look]] = {}
    told = time.monotonic()
    while any(sender.is_alive() for sender in senders) or not node.finished():
        taken = sum(len(sender.acknowledged) for sender in senders)
        roles = roles_of(node)
        if stub is not None and stub.process is not None:
            roles[stub.process.pid] = "analyse (stub)"
        assert node.process is not None
        roles[node.process.pid] = "supervisor"
        for pid, role in roles.items():
            if (seen := look(pid, taken)) is not None:
                looks.setdefault(f"{role} {pid}", []).append(seen)
        if time.monotonic() > told + 30:
            told = time.monotonic()
            print(f"{taken} of {films} films taken", flush=True)
        time.sleep(_LOOK_SECONDS)
    return looks


def growth(looks: list[Look]) -> float:
    """Return bytes a film by a line through what was seen."""
    films = np.array([each.films for each in looks], dtype=float)
    if len(looks) < 3 or np.ptp(films) == 0:
        return 0.0
    return float(np.polyfit(films, [each.resident for each in looks], 1)[0])


def verdict(looks: dict[str, list[Look]], films: int) -> bool:
    """Print a line a role; return whether nothing grows."""
    is_flat = True
    for role, seen in sorted(looks.items()):
        late = [each for each in seen if each.films >= films / 2]
        if not late:
            continue
        first, last, slope = late[0], late[-1], growth(late)
        grew = slope > BYTES_A_FILM
        more = max(last.descriptors - first.descriptors, last.threads - first.threads) > ROOM
        is_flat &= not (grew or more)
        print(
            f"{role.rpartition(' ')[0]:16} {first.resident / 1e6:6.0f} ->"
            f" {last.resident / 1e6:6.0f} MB ({slope:+.0f} bytes a film), descriptors"
            f" {first.descriptors} -> {last.descriptors}, threads {first.threads} -> {last.threads}"
            f"{'  GROWS' if grew or more else ''}"
        )
    return is_flat


def soak(folder: Path, films: int, size: int, *, networks: bool) -> bool:
    """Send the films through a node; return whether each came back once and nothing grew."""
    port, taken = free_port(), Counter[str]()
    pacs = counting_pacs(port, taken)
    paths = make_films(folder / "films", films, size)
    node = make_node(folder / "node", quiet_seconds=0.2)
    set_in(node, port=free_port())
    node.add_remote("PACS", port, objects=["sr"])
    node.start(None if networks else all_but("analyse"))
    stub = None if networks else StubWorker(node)
    if stub is not None:
        stub.start()
    try:
        before = (node.data_dir / "ledger.sqlite").stat().st_size
        senders = [Sender(paths[turn::_SENDERS], node.port) for turn in range(_SENDERS)]
        for sender in senders:
            sender.start()
        looks = watch(node, stub, senders, films)
        after = sum(path.stat().st_size for path in node.data_dir.glob("ledger.sqlite*"))
        left = list((node.data_dir / "spool" / "incoming").iterdir())
    finally:
        if stub is not None:
            stub.stop()
        node.stop()
        pacs.shutdown()
    is_flat = verdict(looks, films)
    once = sum(count == 1 for count in taken.values())
    print(
        f"ledger {(after - before) / films:.0f} bytes a film; left over in the spool: {len(left)}"
    )
    print(f"{films} films sent, {once} reports came back once, {len(taken) - once} more often")
    return is_flat and not left and once == films == len(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--networks", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        is_well = soak(Path(folder), asked.films, asked.size, networks=asked.networks)
    print("flat, each film once" if is_well else "NOT flat, or not each film once")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
