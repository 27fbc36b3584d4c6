"""A TOML file as tables, with the line of each key for messages."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.settings.faults import Fault, KeyPlaces

_TABLE = re.compile(r"^\s*\[\s*([\w\-.\"' ]+?)\s*\]")
_ONE_OF_MANY = re.compile(r"^\s*\[\[\s*([\w\-.\"' ]+?)\s*\]\]")
_KEY = re.compile(r"^\s*([\w\-.\"']+)\s*=")
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What one file says: ``tables`` as nested dicts, ``places`` for messages."""

    tables: Mapping[str, Any]
    places: KeyPlaces


MOST_BYTES = 1_000_000
"""No file that people write is longer: settings, templates, manifests."""


def is_short(path: Path) -> bool:
    """Whether a file is no longer than `MOST_BYTES`; also of one that cannot be looked at."""
    try:
        return path.stat().st_size <= MOST_BYTES
    except OSError:
        return True


def read_text(path: Path, name: str) -> str | Fault:
    """Return the file's text, or why it cannot be read; ``name`` stands for it in messages."""
    if not is_short(path):
        return Fault(name, "", f"is larger than {MOST_BYTES:,} bytes", "make it a short text")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        return Fault(name, "", what, "check that it exists and that the node's user may read it")
    except UnicodeDecodeError:
        return Fault(name, "", "is not UTF-8 text", "save it as UTF-8")


def missing_folder(folder: Path) -> Fault | None:
    """Return the fault of a configuration folder that is not there."""
    try:
        folder.stat()
    except FileNotFoundError:
        make = f"`dicom-node config init {shlex.quote(str(folder))}`"
        return Fault(str(folder), "", "there is no such folder", f"correct its name, or {make}")
    except OSError:
        return None  # its files cannot be read either, and say why
    return None


def parse(text: str, name: str) -> SettingsFile | Fault:
    """Return the tables of a TOML text, or its first syntax error."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        what = _AT_LINE.sub("", str(error)).strip()
        line = int(found[1]) if found else text.count("\n") + 1
        return Fault(name, "", f"not valid TOML: {what}", "correct the line: key = value", line)
    except (RecursionError, ValueError):
        # Thousands of brackets, or of digits.
        return Fault(name, "", "is nested too deeply, or holds too long a number", "write less")
    return SettingsFile(tables, KeyPlaces(name, _lines(text)))


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the first line of each table and key, as far as lines tell (for messages only).

    What stands in one of several tables of a name is there with its number too: ("says", "1",
    "kind") is in the second [[says]].
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counted: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if many := _ONE_OF_MANY.match(line):
            inside = _numbered(_parts(many[1])[:-1], counted) + _parts(many[1])[-1:]
            counted[inside] = counted.get(inside, -1) + 1
            table = (*inside, str(counted[inside]))
            _note(lines, table, number)
        elif header := _TABLE.match(line):
            table = _numbered(_parts(header[1]), counted)
            _note(lines, table, number)
        elif key := _KEY.match(line):
            _note(lines, table + _parts(key[1]), number)
    return lines


def _note(lines: dict[tuple[str, ...], int], key: tuple[str, ...], number: int) -> None:
    lines.setdefault(key, number)
    lines.setdefault(tuple(part for part in key if not part.isdigit()), number)


def _numbered(key: tuple[str, ...], counted: Mapping[tuple[str, ...], int]) -> tuple[str, ...]:
    """Return a key with the number of the last table of each name on its way."""
    found: tuple[str, ...] = ()
    for part in key:
        found += (part,)
        if found in counted:
            found += (str(counted[found]),)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \"'") for part in dotted.split("."))
