"""Fuzz the node's doors for as long as one likes; keep what breaks them.

    python benchmarks/fuzz.py --seconds 3600 --seed 7 upper-layer element

Each input that raises is written to tests/fuzzing/corpus/TARGET/DIGEST.bin, where the test suite
meets it from then on. Exit status 1 where anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing.targets import Target, targets

CORPUS = Path(__file__).parents[1] / "tests" / "fuzzing" / "corpus"
_ROUND, _TELL_SECONDS = 50, 20.0


def fuzz(target: Target, seconds: float, seed: int, folder: Path) -> tuple[int, int]:
    """Return how many inputs a target met, and how many broke it."""
    chance, met, broken = random.Random(f"{target.name}:{seed}"), 0, 0
    until, told = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < until:
        place = folder / f"{target.name}-{met}"
        place.mkdir()
        data = b""
        try:
            with target.open(place) as meet:
                for _ in range(_ROUND):
                    data = target.make(chance)
                    meet(data)
                    met += 1
        except Exception:  # noqa: BLE001 - whatever it raises is what is looked for
            broken += 1
            met += 1
            kept = CORPUS / target.name / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            print(f"\n{target.name}: {kept}")
            traceback.print_exc()
        if time.monotonic() > told + _TELL_SECONDS:
            told = time.monotonic()
            print(f"{target.name}: {met} inputs, {broken} broke it, {until - told:.0f} s left")
    print(f"{target.name}: {met} inputs in {seconds:.0f} s, seed {seed}: {broken} broke it")
    return met, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help="which; none: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="a target")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # what is met is no news
    with tempfile.TemporaryDirectory() as folder:
        known = {each.name: each for each in targets(Path(folder) / "made")}
        wrong = set(asked.targets) - known.keys()
        if wrong:
            parser.error(f"no target {', '.join(sorted(wrong))}; there are {', '.join(known)}")
        broken = 0
        for name in asked.targets or known:
            broken += fuzz(known[name], asked.seconds, asked.seed, Path(folder))[1]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
