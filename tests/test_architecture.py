"""The map of the house leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_file_named_in_the_architecture_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"\]\(\.\./([^)]+)\)", page)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_docs_and_code_name_no_place_outside_the_project() -> None:
    foreign = re.compile(r"/work/|/root/|/home/\w+/|https?://(?!127\.0\.0\.1|localhost)[\w.]*pypi")
    suffixes = {".py", ".md", ".toml", ".sql", ".yml", ".cfg", ".lock", ""}
    ours = [
        "dicom_node", "docs", "tests", "benchmarks", "ae_config", "sr_templates", "models", ".ci",
        "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "requirements.lock",
    ]  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for name in ours
        for path in [ROOT / name, *(ROOT / name).rglob("*")]
        if path.is_file()
        and path.suffix in suffixes
        and path != Path(__file__)
        and (match := foreign.search(path.read_text("utf-8", errors="replace")))
    ]
    assert found == []
