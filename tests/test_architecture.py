"""The map of the house leads somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_file_named_in_the_architecture_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"\]\(\.\./([^)]+)\)", page)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_walk_names_every_role_and_every_step_of_the_line() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    walk = page[: page.index("```mermaid")]
    steps = ("receive", "intake", "analyse", "report", "deliver", "web")
    lines = ("admit", "analyse", "report", "deliver", "web_doors")
    wanted = [f"dicom_node/roles/{name}.py" for name in steps]
    wanted += [f"dicom_node/line/{name}.py" for name in lines]
    assert [name for name in wanted if f"](../{name})" not in walk] == []


WALK = (
    "roles/receive.py", "association/store.py", "intake/take.py", "spool.py",
    "ledger/receiving.py",
    "roles/intake.py", "line/admit.py", "intake/admit.py", "results/facts.py",
    "roles/analyse.py", "line/analyse.py", "imaging/decode.py", "analysis/engine.py",
    "brains/models.py", "findings.py",
    "roles/report.py", "line/report.py", "intake/routing.py", "results/write.py",
    "ledger/reporting.py",
    "roles/web.py", "web/app.py",
    "roles/deliver.py", "line/deliver.py", "delivery/sender.py",
)  # fmt: skip
"""What a newcomer meets on the way of a film, in this order."""


def test_the_walk_follows_a_film_from_the_door_to_the_sending_ae() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    walk = page[: page.index("```mermaid")]
    places = [walk.find(f"](../dicom_node/{name})") for name in WALK]
    assert -1 not in places
    assert places == sorted(places)


def test_the_table_of_rooms_is_the_contract_of_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = page[page.index("| floor | rooms |") : page.index("`take` is in `intake`")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    floors = next(each["layers"] for each in contracts if each["name"] == "floors")
    rows = [set(re.findall(r"`([a-z]+)`", row)) for row in table.splitlines()[2:] if row]
    assert len(rows) == len(floors)
    wanted = [set(floor.split(" | ")) for floor in floors]
    assert [rooms - named for rooms, named in zip(wanted, rows, strict=True) if rooms - named] == []


def words_of_the_glossary() -> list[str]:
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if " | " in line]
    return [word for row in rows[1:] for word in row.split(", ")]


def test_a_word_is_fixed_once_and_the_code_or_a_page_uses_it() -> None:
    words = words_of_the_glossary()
    assert len(set(words)) == len(words) > 40
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name != "glossary.md"]
    texts = [path.read_text("utf-8") for path in (*(ROOT / "dicom_node").rglob("*.py"), *pages)]
    whole = " ".join(" ".join(texts).lower().split())
    unused = [word for word in words if re.sub(r" \(.*\)", "", word).lower() not in whole]
    assert unused == []


NO_ENTRY_FILES = {
    "supervisor.py": "starts and watches the workers of all roles",
    "process.py": "what a process of a role begins and ends with",
    "shift.py": "the loop of a worker",
}


def test_a_role_is_an_entry_file_of_at_most_eighty_lines() -> None:
    roles = sorted((ROOT / "dicom_node" / "roles").glob("*.py"))
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in roles}
    long = {name for name, lines in lengths.items() if lines > 80}
    assert long <= set(NO_ENTRY_FILES), "what a role does belongs to dicom_node/line"


def test_docs_and_code_name_no_place_outside_the_project() -> None:
    foreign = re.compile(r"/work/|/root/|/home/\w+/|https?://(?!127\.0\.0\.1|localhost)[\w.]*pypi")
    suffixes = {".py", ".md", ".toml", ".sql", ".yml", ".cfg", ".lock", ""}
    ours = [
        "dicom_node", "docs", "examples", "tests", "benchmarks", "ae_config", "sr_templates",
        "models", ".ci", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml",
        "requirements.lock",
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
