"""The ledger by consumer: narrow protocols, each method needed by somebody, one class behind."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.ledger import interface
from dicom_node.ledger.sqlite import SqliteLedger

PACKAGE = Path(__file__).parents[1] / "dicom_node"
MOST_METHODS = 12
WIRING = {"ledger/sqlite.py", "roles/process.py", "roles/shift.py", "cli/options.py"}
"""Who opens a ledger, and hands it on as what each consumer needs."""

PROTOCOLS = {
    name: kind
    for name in interface.__all__
    if getattr(kind := getattr(interface, name), "_is_protocol", False)
}
TOGETHER = {"ReadingRoom"}


def methods(kind: type) -> set[str]:
    return {
        name
        for each in kind.__mro__
        for name, member in vars(each).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def names(tree: ast.Module) -> set[str]:
    """Return every name and attribute of a module, in annotations that are texts too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_nothing_but_the_wiring_names_the_class_in_sqlite() -> None:
    named = {place for place, tree in sources() if "SqliteLedger" in names(tree)}
    assert named == WIRING


@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - TOGETHER))
def test_a_protocol_is_narrow(name: str) -> None:
    assert 1 <= len(methods(PROTOCOLS[name])) <= MOST_METHODS


@pytest.mark.parametrize("name", sorted(TOGETHER))
def test_what_is_put_together_promises_nothing_of_its_own(name: str) -> None:
    assert not [member for member in vars(PROTOCOLS[name]) if not member.startswith("_")]


def test_each_promise_is_kept_under_its_name_and_with_its_parameters() -> None:
    for protocol in PROTOCOLS.values():
        for name in methods(protocol):
            promised, kept = (
                list(inspect.signature(getattr(kind, name)).parameters)
                for kind in (protocol, SqliteLedger)
            )
            assert promised == kept, f"{protocol.__name__}.{name}"


def test_each_promise_is_needed_by_somebody() -> None:
    used: set[str] = set()
    for place, tree in sources():
        if not place.startswith("ledger/") or place == "ledger/again.py":
            used |= names(tree)
    unused = {name for kind in PROTOCOLS.values() for name in methods(kind)} - used
    assert unused == set()


def test_the_roles_of_the_line_do_not_see_the_reading_room() -> None:
    seen = {place for place, tree in sources() if "ReadingRoom" in names(tree)}
    assert {place for place in seen if not place.startswith(("ledger/", "web/"))} == set()
