"""What pytest is told of exists: a marker that no test bears would be chosen in vain."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DECLARED = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"][
    "ini_options"
]["markers"]


@pytest.mark.parametrize("marker", [each.partition(":")[0] for each in DECLARED])
def test_every_marker_is_borne_by_some_test(marker: str) -> None:
    bearer = re.compile(rf"\bmark\.{marker}\b")
    assert any(bearer.search(path.read_text("utf-8")) for path in HERE.rglob("*.py"))
