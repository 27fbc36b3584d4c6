"""Name bundles in ``node.toml``, or take them out: its comments and the order of its keys stay.

A change is checked with all other settings before a byte is written, and replaces the file at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from dicom_node.errors import SettingsError
from dicom_node.settings.edit import refuse_shipped, replace_text
from dicom_node.settings.environment import PREFIX
from dicom_node.settings.load import Configuration, checked_settings
from dicom_node.settings.model import AnalysisSection

Names = Callable[[Sequence[str]], Iterable[str]]
"""From the names that stand in a list to those that are to stand there."""


def keep_suite(configuration: Configuration, change: Names, suite: str = "") -> Path | None:
    """Change which networks a suite has: ``analysis.suite``, or that of ``[[suites]]`` by its name.

    Returns the file; None where it says so already. Raises `SettingsError` with every fault that
    the settings would have; then nothing has changed.
    """
    if not suite:
        return _keep(configuration, lambda document: _in_analysis(document, "suite", change))
    return _keep(configuration, lambda document: _in_suite(document, suite, change))


def keep_shadow(configuration: Configuration, change: Names) -> Path | None:
    """Change which bundles run in shadow; see `keep_suite`."""
    return _keep(configuration, lambda document: _in_analysis(document, "shadow", change))


def keep_both(
    configuration: Configuration, suite: Names, shadow: Names, name: str = ""
) -> Path | None:
    """Change a suite and the shadow at once; see `keep_suite`."""

    def change(document: Any) -> bool:
        in_shadow = _in_analysis(document, "shadow", shadow)
        if name:
            return _in_suite(document, name, suite) or in_shadow
        return _in_analysis(document, "suite", suite) or in_shadow

    return _keep(configuration, change)


def with_name(name: str) -> Names:
    """Return the change that adds a name at the end, if it is not there."""
    return lambda names: names if name in names else [*names, name]


def without_name(name: str) -> Names:
    """Return the change that takes a name out."""
    return lambda names: [each for each in names if each != name]


def _keep(configuration: Configuration, change: Callable[[Any], bool]) -> Path | None:
    refuse_shipped(configuration)
    path = configuration.folder / "node.toml"
    try:
        document = tomlkit.parse(path.read_text("utf-8-sig"))
    except (OSError, ValueError, TOMLKitError) as error:
        raise SettingsError(f"{path} cannot be read.") from error
    if not change(document):
        return None
    text = tomlkit.dumps(document)
    checked_settings(configuration, text)
    replace_text(path, text)
    return path


def _in_analysis(document: Any, key: str, change: Names) -> bool:
    variable = f"{PREFIX}ANALYSIS__{key.upper()}"
    if variable in os.environ:
        raise SettingsError(
            f"The environment variable {variable} says what analysis.{key} is.",
            remedy="Change it there, or take it away and ask again.",
        )
    table = document.get("analysis", {})
    default = AnalysisSection.model_fields[key].get_default()
    before = [str(name) for name in table.get(key, default)]
    after = list(change(before))
    if after == before:
        return False
    if "analysis" not in document:
        document["analysis"] = tomlkit.table()
    if key not in document["analysis"]:
        document["analysis"][key] = tomlkit.array()
        for name in before:
            document["analysis"][key].append(name)
    _change(document["analysis"][key], before, after)
    return True


def _in_suite(document: Any, suite: str, change: Names) -> bool:
    tables = document.get("suites", [])
    found = next((table for table in tables if table.get("name") == suite), None)
    if found is None:
        known = ", ".join(repr(str(table.get("name"))) for table in tables) or "none"
        raise SettingsError(
            f"There is no suite {suite!r} in node.toml: there are {known}.",
            remedy="Write [[suites]] with its name and networks first (docs/configuration.md).",
        )
    before = [str(name) for name in found.get("networks", [])]
    after = list(change(before))
    if after == before:
        return False
    _change(found["networks"], before, after)
    return True


def _change(array: Any, before: Sequence[str], after: Sequence[str]) -> None:
    """Make a TOML array of names another; what stays keeps its place and its comment."""
    for name in before:
        if name not in after:
            array.remove(name)
    for name in after:
        if name not in before:
            array.append(name)
