"""The tree of errors is the one that is drawn, and each tells what to do."""

from __future__ import annotations

import re

from dicom_node import errors
from dicom_node.errors import NodeError


def drawn() -> dict[str, str]:
    """Return ``{error: parent}`` from the tree in the module's docstring."""
    tree: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + ("── " in line)
        path[depth:] = [match[2]]
        if depth:
            tree[match[2]] = path[depth - 1]
    return tree


def real(root: type[NodeError] = NodeError) -> dict[str, str]:
    """Return ``{error: parent}`` of the classes in the module."""
    tree: dict[str, str] = {}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            tree[child.__name__] = root.__name__
            tree |= real(child)
    return tree


def test_the_drawn_tree_is_the_real_tree() -> None:
    assert len(drawn()) > 30
    assert drawn() == real()


def test_every_error_says_what_it_means_and_what_to_do() -> None:
    for name in real():
        kind = getattr(errors, name)
        assert kind.__doc__, name
        assert kind("what happened").remedy, name


def test_an_error_prints_its_message_and_a_given_remedy_wins() -> None:
    error = errors.DiskFull("No room for 1.2.3.", remedy="Empty the bin.")
    assert str(error) == "No room for 1.2.3."
    assert error.remedy == "Empty the bin."
