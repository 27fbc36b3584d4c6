"""One meaning a name: a public class name exists once, whatever room it is in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dicom_node"


def classes(tree: ast.Module) -> Iterator[str]:
    """Yield the names of public classes, those within others too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def aliases(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's type aliases, which are spelt like classes."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper():
                yield target.id


def homonyms(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Return by its name where a class is that is not the only class or type of that name."""
    found: dict[str, list[str]] = {}
    kinds: dict[str, set[str]] = {"class": set(), "alias": set()}
    for place, source in sources.items():
        tree = ast.parse(source)
        for kind, names in (("class", classes(tree)), ("alias", aliases(tree))):
            for name in names:
                kinds[kind].add(name)
                found.setdefault(name, []).append(place)
    return {
        name: places for name, places in found.items() if len(places) > 1 and name in kinds["class"]
    }


def test_a_public_class_name_exists_once() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    sources = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in modules}
    assert homonyms(sources) == {}, "name each by what it is; docs/glossary.md has the words"


def test_a_second_class_or_type_of_a_name_is_found() -> None:
    sources = {
        "a.py": "class Film: ...\nclass _Part: ...\nLIMIT = 1\nPair = list[int]",
        "b.py": "class Study:\n    class Film: ...\nclass _Part: ...\nLIMIT = 2\nPair = list[str]",
        "c.py": "Study = tuple[int, str]",
    }
    assert homonyms(sources) == {"Film": ["a.py", "b.py"], "Study": ["b.py", "c.py"]}


ANSWERS = re.compile(r"covid19|pneumonia|geographic_extent|\bzones\b")
"""What our own networks answer, by the names of the JSON contract."""

MAY_NAME_THEM = {
    "chest.py": "the view of the contract",
    "web/api.py": "the API is the contract",
    "ledger/reading_room.sql": "the schema of an earlier release",
    "ledger/figures.sql": "leaves the schema of an earlier release",
    "settings/model.py": "the id of a bundle of the default suite",
    "settings/values.py": "zones of time",
    "moments.py": "zones of time",
}


def test_no_room_that_serves_names_what_our_own_networks_answer() -> None:
    """The next network is a folder: whoever serves asks observations, templates and manifests."""
    kinds = {".py", ".sql", ".html", ".js", ".css", ".toml"}
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.suffix in kinds and ANSWERS.search(path.read_text("utf-8"))
    }
    # Networks of ours are built there, and taught.
    serving = {name for name in named if not name.startswith(("training/", "networks/"))}
    assert serving == set(MAY_NAME_THEM)
