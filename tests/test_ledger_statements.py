"""What the ledger asks SQLite has a name and says what it is for; little of it is in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.ledger.statements import Statement, read_statements
from dicom_node.ledger.told import columns_of
from tests.ledger_kit import fresh_ledger

LEDGER = Path(__file__).parents[1] / "dicom_node" / "ledger"
FILES = sorted((LEDGER / "sql").glob("*.sql"))
IN_PYTHON = {
    "casebook.py": "over what a person searches for, and what a header tells",
    "clock.py": "over every table that has a time",
    "connection.py": "inserts into any table",
    "migrations.py": "each step as it was when it was released",
    "outbox.py": "over what a person searches for",
    "reading.py": "over what may be asked for",
    "steps.py": "over the three tables that have states and leases",
}
"""Modules whose SQL is put together in Python, and over what it is generic."""

SQL = re.compile(
    r"\b(select\s.*\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from)\b", re.DOTALL | re.I
)


def named() -> Iterator[tuple[str, Statement]]:
    for path in FILES:
        for statement in read_statements(path.read_text("utf-8")).values():
            yield path.stem, statement


EVERY = dict(sorted((statement.name, (file, statement)) for file, statement in named()))


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module, in one those that are put together, without docstrings."""
    said = {
        id(node.value) for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
        ):
            yield node.value


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(LEDGER.glob("*.py")):
        yield path.name, ast.parse(path.read_text("utf-8"))


def users(file: str) -> dict[str, ast.Module]:
    """Return the modules that take their statements from a file."""
    return {name: tree for name, tree in modules() if f"statements('{file}')" in ast.unparse(tree)}


def test_a_name_is_given_once() -> None:
    assert len(EVERY) == len(list(named()))


@pytest.mark.parametrize("file", [path.stem for path in FILES])
def test_every_statement_is_used_and_every_one_that_is_used_is_there(file: str) -> None:
    there = {name for name, (place, _) in EVERY.items() if place == file}
    asked, said = set[str](), set[str]()
    for tree in users(file).values():
        said |= set(texts(tree))
        asked |= set(re.findall(r"_SQL\['(\w+)'\]", ast.unparse(tree)))
    assert there <= said
    assert asked <= there


@pytest.mark.parametrize("name", EVERY)
def test_a_statement_is_one_that_sqlite_understands(tmp_path: Path, name: str) -> None:
    ledger, (_, statement) = fresh_ledger(tmp_path / "ledger.sqlite", who="test"), EVERY[name]
    values = dict.fromkeys(re.findall(r":(\w+)", statement.sql))
    assert ledger._connection._sqlite.execute(f"explain {statement.sql}", values).fetchall()
    ledger.close()


def test_the_row_of_a_case_takes_every_figure_of_the_findings() -> None:
    _, statement = EVERY["list_case"]
    assert set(columns_of({})) <= set(re.findall(r":(\w+)", statement.sql))


def test_only_modules_that_are_generic_put_sql_together_in_python() -> None:
    found = {name for name, tree in modules() if any(SQL.search(text) for text in texts(tree))}
    assert found == set(IN_PYTHON)


def test_the_test_of_sql_in_python_knows_it_when_it_sees_it() -> None:
    for text in (
        '"select * from studies"', 'f"update {table} set x = 1"', '"""insert\n into a"""',
        '"delete from a"',
    ):  # fmt: skip
        assert any(SQL.search(each) for each in texts(ast.parse(text.join(("x = ", "\n")))))


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nselect 1;\n",
        "-- name: a\n-- For nothing.\n",
        "-- name: a\n-- Once.\nselect 1;\n-- name: a\n-- Twice.\nselect 2;\n",
    ],
)
def test_a_statement_without_purpose_or_text_or_with_another_s_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="The statement a"):
        read_statements(text)


def test_a_purpose_may_have_several_lines_and_a_statement_its_comments() -> None:
    text = "-- A file.\n\n-- name: a\n-- To be\n-- sure.\n\nselect 1 -- one\n;\n"
    assert read_statements(text)["a"] == Statement("a", "To be sure.", "select 1 -- one\n")
