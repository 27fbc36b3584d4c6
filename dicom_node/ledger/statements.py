"""What the ledger asks SQLite, by name, from the files in ``sql/``.

In them each statement begins with its name and with what it is for::

    -- name: any_quiet_study
    -- Whether a study waits for its results to be written.
    select ...

What is generic over tables (`steps`, `clock`, `connection`), what is put together from what a
person asked for (`casebook`, `outbox`, `reading`) and what a release once did (`migrations`) is in
Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

_BEGIN = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_PARTS = re.compile(r"((?:--[^\n]*\n)*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a file in ``sql/``, and what it is for."""

    name: str
    purpose: str
    sql: str


def read_statements(text: str) -> Mapping[str, Statement]:
    """Return the statements of a file's text by name.

    Raises `ValueError` where one has no purpose, no text, or the name of another.
    """
    _, *pieces = _BEGIN.split(text)
    found = dict[str, Statement]()
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        parts = _PARTS.match(body)
        assert parts is not None, "it matches anything"
        comment, sql = parts[1], parts[2].strip().removesuffix(";")
        purpose = " ".join(line.removeprefix("--").strip() for line in comment.splitlines())
        if not purpose or not sql or name in found:
            raise ValueError(f"The statement {name} has no purpose, no text, or a second one.")
        found[name] = Statement(name, purpose, sql)
    return found


def statements(file: str) -> Mapping[str, str]:
    """Return the text of each statement in ``sql/<file>.sql`` by name. Raises `ValueError`."""
    folder = resources.files("dicom_node.ledger") / "sql"
    found = read_statements((folder / f"{file}.sql").read_text("utf-8"))
    return MappingProxyType({name: each.sql for name, each in found.items()})
