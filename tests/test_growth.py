"""Everything that grows is named in docs/growth.md, with what ends it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.settings.reference import node_keys

PAGE = Path(__file__).parents[1] / "docs" / "growth.md"
_SHADOW = re.compile(r"case_words_\w+|sqlite_\w+")
"""What SQLite keeps beside a table of ours."""


def tables(folder: Path) -> Sequence[str]:
    open_ledger(folder / "ledger.sqlite", who="test").close()
    ledger = sqlite3.connect(folder / "ledger.sqlite")
    rows = ledger.execute("select name from sqlite_master where type = 'table'").fetchall()
    ledger.close()
    return sorted(name for (name,) in rows if not _SHADOW.fullmatch(name))


def named() -> Sequence[str]:
    """Return the tables that the page names, in its first column."""
    part = PAGE.read_text("utf-8").partition("## Tables")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))


def test_every_table_of_the_ledger_is_named_with_what_ends_it(tmp_path: Path) -> None:
    assert named() == tables(tmp_path)


@pytest.mark.parametrize(
    "said", re.findall(r"`(?:(\w+)\.)?(\w+)` \((\d+)(?: GB)?\)", PAGE.read_text("utf-8"))
)
def test_the_page_gives_the_defaults_of_the_settings(said: tuple[str, str, str]) -> None:
    section, name, shown = said
    (key,) = [
        key for key in node_keys() if (key.section, key.name) == (section or "retention", name)
    ]
    default = int(str(key.default).replace("_", "").split(".")[0])
    assert default in (int(shown), int(shown) * 10**9)


def test_every_setting_of_retention_ends_something() -> None:
    text = PAGE.read_text("utf-8")
    missing = [
        key.name for key in node_keys() if key.section == "retention" and key.name not in text
    ]
    assert missing == []
