"""Every fault, promise and control has a test by name, or says why it has none."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "faults.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([PS]?\d+) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
NUMBERS = [
    *(str(number) for number in range(1, 96)),
    *(f"P{number}" for number in range(1, 17)),
    *(f"S{number}" for number in range(1, 23)),
]


def test_no_fault_promise_or_control_is_missing_or_there_twice() -> None:
    assert [number for number, *_ in ROWS] == NUMBERS


def test_every_test_that_is_named_exists() -> None:
    named = [
        (number, ref) for number, _, shown in ROWS for ref in re.findall(r"`([^`\s]+::\w+)`", shown)
    ]
    assert len(named) > 150
    missing = []
    for number, ref in named:
        file, _, name = ref.partition("::")
        path = TESTS / file
        if not path.is_file() or f"def test_{name}(" not in path.read_text("utf-8"):
            missing.append((number, ref))
    assert missing == []


def test_whatever_has_no_test_says_why() -> None:
    silent = [
        number
        for number, _, shown in ROWS
        if not re.search(r"`[^`\s]+::\w+`", shown) and not re.match(r"not: .{30,}", shown)
    ]
    assert silent == []
