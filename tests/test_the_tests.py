"""What every test keeps to: no test fails because the machine was busy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "process_time", "time", "now", "utcnow"}
UPPER = (ast.Lt, ast.LtE)
LOWER = (ast.Gt, ast.GtE)
PATIENCE_SECONDS = 30
"""A deadline for what should happen; shorter ones a busy machine misses."""

SLEEPS = {
    "delivery/pacs.py": "a PACS that is slow to answer",
    "delivery/relay.py": "a line that carries so many bytes a second",
    "receiving/test_large_objects.py": "a sender of so many bytes a second",
    "node/peers.py": "the pause of wait_for between two looks",
}
"""Who may sleep, and what for. Everybody else waits for what is to happen (`wait_for`)."""


def sources() -> list[Path]:
    return sorted(path for path in TESTS.rglob("*.py"))


def called(node: ast.AST) -> str:
    """Return the last part of the name of the function that is called, or ""."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_elapsed(node: ast.AST, elapsed: set[str]) -> bool:
    """Whether a clock is subtracted in the expression, or was when its name was given."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in elapsed:
            return True
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
            sides = [*ast.walk(part.left), *ast.walk(part.right)]
            if any(called(side) in CLOCKS for side in sides):
                return True
    return False


def elapsed_limits(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that assert that something took less than so long."""
    elapsed = {
        target.id
        for node in ast.walk(tree) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
        if is_elapsed(node.value, set())
    }  # fmt: skip
    for asserted in ast.walk(tree):
        if not isinstance(asserted, ast.Assert):
            continue
        for node in ast.walk(asserted):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
                above = isinstance(operator, UPPER) and is_elapsed(left, elapsed)
                if above or (isinstance(operator, LOWER) and is_elapsed(right, elapsed)):
                    yield asserted.lineno


def impatient(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that wait for something with a deadline that a busy machine misses."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [word.value for word in node.keywords if word.arg == "timeout"]
        if called(node) == "wait_for":
            given += node.args[1:2]
        for value in given:
            seconds = value.value if isinstance(value, ast.Constant) else None
            if isinstance(seconds, int | float) and 0 < seconds < PATIENCE_SECONDS:
                yield node.lineno


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_can_be_failed_by_a_busy_machine(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert list(elapsed_limits(tree)) == [], "asserts how long something took"
    assert list(impatient(tree)) == [], f"waits for less than {PATIENCE_SECONDS} s"
    if str(path.relative_to(TESTS)) not in SLEEPS:
        sleeps = [node.lineno for node in ast.walk(tree) if called(node) == "sleep"]
        assert sleeps == [], "sleeps instead of waiting for a condition"


def borrowed(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that import from a test module."""
    modules = {path.stem for path in sources() if path.stem.startswith("test_")}
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(each.name for each in node.names)]
        parts = [part for name in names for part in name.split(".")]
        if modules.intersection(parts):
            yield node.lineno


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(TESTS)))
def test_what_several_tests_need_is_in_no_test_module(path: Path) -> None:
    lines = list(borrowed(ast.parse(path.read_text("utf-8"))))
    assert lines == [], "move what it imports to a kit beside the tests"


def test_no_file_holds_the_marks_of_a_merge() -> None:
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    kept = ("dicom_node", "docs", "tests", "ae_config", "sr_templates")
    found = [
        str(path.relative_to(TESTS.parent))
        for folder in kept
        for path in (TESTS.parent / folder).rglob("*")
        if path.suffix in {".py", ".html", ".md", ".toml", ".css", ".js", ".sql"}
        and any(line.startswith(marks) for line in path.read_text("utf-8").splitlines())
    ]
    assert found == []


def test_what_is_refused_is_recognised() -> None:
    refused = """
started = time.monotonic()
took = monotonic() - started
assert time.monotonic() - started < 2
assert 0.1 < time.time() - started <= 2
assert 2 > datetime.now(UTC) - started
assert took < 2
assert time.monotonic() - started > 2
assert seen < 2
"""
    assert list(elapsed_limits(ast.parse(refused))) == [4, 5, 6, 7]
    hurried = "wait_for(it, 5, 'why')\nget(url, timeout=2.5)\nwait_for(it, 30, 'why')"
    assert list(impatient(ast.parse(hurried))) == [1, 2]
    lent = "from tests.test_errors import x\nfrom tests import test_errors\nimport tests.standins"
    assert list(borrowed(ast.parse(lent))) == [1, 2]
