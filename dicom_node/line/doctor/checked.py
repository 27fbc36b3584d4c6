"""One thing that was looked at: how it is, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Condition = Literal["well", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of an examination. ``area``: what was looked at, one word.

    ``facts``: the same for a program: numbers, names of our own, UIDs of classes; of nobody.
    """

    area: str
    condition: Condition
    sentence: str
    remedy: str = ""
    facts: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class MoreChecks:
    """What to look at beside the usual.

    ``echo``: ask every peer for a C-ECHO. ``self_test``: let our own networks prove themselves,
    which takes minutes. ``log``: a file with lines of the node's log. ``backups``: where they are.
    """

    echo: bool = False
    self_test: bool = False
    log: Path | None = None
    backups: Path | None = None


def well(area: str, sentence: str, **facts: Any) -> Checked:
    """Return a line about what is well."""
    return Checked(area, "well", sentence, facts=facts or None)


def warning(area: str, sentence: str, remedy: str, **facts: Any) -> Checked:
    """Return a line about what will be a fault, or is a nuisance."""
    return Checked(area, "warning", sentence, remedy, facts or None)


def fault(area: str, sentence: str, remedy: str, **facts: Any) -> Checked:
    """Return a line about what keeps the node from its work."""
    return Checked(area, "fault", sentence, remedy, facts or None)
