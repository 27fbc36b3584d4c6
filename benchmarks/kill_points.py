"""Kill the receiver at system calls chosen by chance; nothing that it acknowledged may be lost.

``python benchmarks/kill_points.py [--points 1000] [--seed 0]`` sends six films by DCMTK's storescu
to a receiver that strace kills at its nth fsync, rename, pwrite64, fdatasync, sendto, unlink or
openat, starts it again, and checks that each film that was answered 0x0000 is in the ledger and on
disk with its digest; then all are sent again. Exit status 1 where one was lost.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.receiving.conftest import make_receiver
from tests.receiving.kill_kit import (
    LARGE,
    SMALL,
    acknowledged,
    check_nothing_is_lost,
    films,
    killed_at,
    own_receiver_again,
)

CALLS = {
    "fsync": 24, "rename": 12, "pwrite64": 60, "fdatasync": 20, "sendto": 24, "unlink": 8,
    "openat": 260,
}  # fmt: skip
"""System calls, and the last of them at which to kill: what six films need, and some more."""

FILMS = 6


def kill_once(folder: Path, chance: random.Random) -> tuple[str, int, int]:
    """Kill a receiver once; return the call, and how many films were answered before and after.

    Raises AssertionError where an acknowledged film is lost.
    """
    call = chance.choice(sorted(CALLS))
    when, size = chance.randint(1, CALLS[call]), chance.choice((SMALL, SMALL, SMALL, LARGE))
    receiver = make_receiver(folder / "receiver", pdu_seconds=10.0)
    try:
        paths = films(folder / "films", FILMS, size)
        answered = killed_at(receiver, paths, call, when)
        check = own_receiver_again(receiver)
        check_nothing_is_lost(check, answered)
        again = acknowledged(check, paths)
        assert len(again) == FILMS, f"{call} {when}: {len(again)} of {FILMS} taken afterwards"
        check_nothing_is_lost(check, answered | again)
        assert len(check.instances()) == FILMS
        check.stop()
    finally:
        if receiver.process is not None and receiver.process.poll() is None:
            receiver.process.kill()
            receiver.process.wait()
    return call, len(answered), len(again)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, calls, acked, lost = random.Random(asked.seed), Counter[str](), 0, 0
    began = told = time.monotonic()
    for number in range(asked.points):
        with tempfile.TemporaryDirectory() as folder:
            try:
                call, answered, _ = kill_once(Path(folder), chance)
            except AssertionError as error:
                lost += 1
                print(f"LOST: {error}", flush=True)
                continue
        calls[call] += 1
        acked += answered
        if time.monotonic() > told + 20:
            told = time.monotonic()
            print(f"{number + 1} of {asked.points} points, {lost} with a loss", flush=True)
    where = ", ".join(f"{call} {count}" for call, count in sorted(calls.items()))
    print(
        f"{asked.points} kill points ({where}), {acked} films acknowledged before a kill, "
        f"{lost} points with a loss, {time.monotonic() - began:.0f} s"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
