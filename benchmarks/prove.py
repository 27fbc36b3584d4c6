"""Prove the node's promises, and write what was found into docs/promises.md.

    make prove                              every promise by its tests, the quick ones
    make prove ARGS="P1 P9 --slow"          two of them, with their slow tests too
    make prove ARGS="P1 P2 P5 --long"       by the long proofs: kill points, nights, soaks
    make prove ARGS="P1 --long --points 200"

Which tests prove a promise stands in docs/faults.md. Exit status 1 where one is not kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, FAULTS = ROOT / "docs" / "promises.md", ROOT / "docs" / "faults.md"
_ROW = re.compile(r"^\| (P\d+) \| (.+?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
_TELL_SECONDS = 30.0


@dataclass(frozen=True)
class Scale:
    """How long the long proofs are."""

    points: int
    films: int
    soak: int
    seconds: float


def long_proofs(scale: Scale) -> Mapping[str, Sequence[Sequence[str]]]:
    """Return the benchmarks that prove a promise at length, by its number."""
    kills = ("kill_points.py", "--points", str(scale.points))
    night = ("long_night.py", "--films", str(scale.films), "--objects", "sr")
    soak = ("soak.py", "--films", str(scale.soak))
    fuzz = ("fuzz.py", "--seconds", str(scale.seconds))
    return {
        "P1": (kills, night), "P2": (night,), "P3": (night,), "P5": (soak,),
        "P6": (("stalled.py",),), "P9": (night,), "P14": (fuzz,),
    }  # fmt: skip


def tests_of(number: str) -> list[str]:
    """Return the tests that docs/faults.md names for a promise, as pytest takes them."""
    row = re.search(rf"^\| {number} \| .+$", FAULTS.read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"`([^`\s]+)::(\w+)`", row.group() if row else "")
    return [f"tests/{file}::test_{name}" for file, name in named]


@dataclass(frozen=True)
class Proof:
    """What came of one command."""

    is_kept: bool
    figures: str


def by_tests(number: str, *, slow: bool) -> Proof | None:
    """Run a promise's tests; None where all of them are slow and those are not asked for."""
    tests = tests_of(number)
    if not tests:
        return None
    marks = ["-m", ""] if slow else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *marks, *tests]
    done = _run(command)
    last = done.output.strip().splitlines()[-1] if done.output.strip() else ""
    passed = re.search(r"(\d+) passed", last)
    if done.status == 5 or (done.status == 0 and passed is None):
        return None
    took = re.search(r"in ([\d.]+)s", last)
    seconds = f" in {float(took.group(1)):.0f} s" if took else ""
    if done.status != 0:
        sys.stdout.write(done.output)
        return Proof(is_kept=False, figures=f"NOT KEPT: {last}")
    return Proof(is_kept=True, figures=_tests(passed.group(1) if passed else "0") + seconds)


def _tests(count: str) -> str:
    return "1 test" if count == "1" else f"{count} tests"


def by_benchmark(command: Sequence[str]) -> Proof:
    """Run a long proof; its last line is what it found."""
    done = _run([sys.executable, str(ROOT / "benchmarks" / command[0]), *command[1:]])
    lines = [line for line in done.output.strip().splitlines() if line]
    last = lines[-1] if lines else "said nothing"
    # A night and a soak say in the line before what they counted.
    is_whole = any(word in last for word in ("kill points", "stalled", "broke it"))
    said = last if is_whole or len(lines) < 2 else f"{_in_short(lines[-2])}: {last}"
    called = f"`{' '.join(command)}`: "
    return Proof(done.status == 0, called + (said if done.status == 0 else f"NOT KEPT: {said}"))


def _in_short(line: str) -> str:
    """Return a line of figures as a cell of a table takes it."""
    return re.sub(r"\w+\((.*)\)", r"\1", line).replace("|", "/").replace("_", " ")


@dataclass(frozen=True)
class _Done:
    status: int
    output: str


def _run(command: Sequence[str]) -> _Done:
    """Run a command, saying now and then that it still runs."""
    began = told = time.monotonic()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (ROOT / "build" / "prove.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            time.sleep(0.2)
            if time.monotonic() > told + _TELL_SECONDS:
                told = time.monotonic()
                print(f"  … {told - began:.0f} s", flush=True)
        log.seek(0)
        return _Done(process.returncode, log.read())


def machine() -> str:
    """Return when and on what it ran."""
    cores = len(os.sched_getaffinity(0))
    return f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores, Python {platform.python_version()}"


def write(found: Mapping[str, Mapping[str, str]]) -> None:
    """Put figures into the page: by promise, under "tests" or "long"."""

    def row(match: re.Match[str]) -> str:
        number, promise, tests, long = match.groups()
        told = found.get(number, {})
        return f"| {number} | {promise} | {told.get('tests', tests)} | {told.get('long', long)} |"

    PAGE.write_text(_ROW.sub(row, PAGE.read_text("utf-8")), "utf-8")


def main() -> int:
    """Prove what is asked for, and write it down."""
    known = [number for number, *_ in _ROW.findall(PAGE.read_text("utf-8"))]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("promises", nargs="*", help=f"which of {', '.join(known)}; none: all")
    parser.add_argument("--slow", action="store_true", help="slow tests too")
    parser.add_argument("--long", action="store_true", help="the long proofs instead of tests")
    parser.add_argument("--points", type=int, default=1000, help="kill points of P1")
    parser.add_argument("--films", type=int, default=2000, help="of a bad night")
    parser.add_argument("--soak", type=int, default=10_000, help="films of P5")
    parser.add_argument("--seconds", type=float, default=600.0, help="of fuzzing a target")
    parser.add_argument("--no-write", action="store_true", help="leave docs/promises.md as it is")
    asked = parser.parse_args()
    if wrong := set(asked.promises) - set(known):
        parser.error(f"no promise {', '.join(sorted(wrong))}; there are {', '.join(known)}")
    (ROOT / "build").mkdir(exist_ok=True)
    proofs = long_proofs(Scale(asked.points, asked.films, asked.soak, asked.seconds))
    found: dict[str, dict[str, str]] = {}
    broken: list[str] = []
    for number in asked.promises or known:
        print(f"{number} …", flush=True)
        if asked.long:
            shown = [by_benchmark(command) for command in proofs.get(number, ())]
        else:
            one = by_tests(number, slow=asked.slow)
            shown = [one] if one else []
        if not shown:
            print("  nothing of this kind")
            continue
        broken += [number] if not all(one.is_kept for one in shown) else []
        said = "; ".join(one.figures for one in shown)
        print(f"  {said}", flush=True)
        found[number] = {"long" if asked.long else "tests": f"{said} ({machine()})"}
    if not asked.no_write:
        write(found)
    print(f"NOT KEPT: {', '.join(broken)}" if broken else f"{len(found)} promises kept")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
