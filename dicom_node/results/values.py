"""What a measurement group says, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from dicom_node.results.regions import Polygon
from dicom_node.results.template_parts import Code


class Unit(Enum):
    """The units of our numbers: (code value, code meaning) in UCUM, and how people read it."""

    PERCENT = ("%", "Percent", "%")
    EIGHT = ("{0:8}", "range: 0:8", "/ 8")
    FOUR = ("{0:4}", "range: 0:4", "/ 4")
    THREE = ("{0:3}", "range: 0:3", "/ 3")


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement in ``unit``: ``exact`` for machines, ``shown`` for people.

    ``also``: the same concept as the standard codes it, which does not say of what.
    """

    key: str
    name: Code
    exact: float
    shown: str
    unit: Unit = Unit.PERCENT
    also: Code | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A lung or a part of one: Finding Site and Laterality."""

    place: Code
    laterality: Code


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One measurement group.

    ``key``: "impression", "opacity map" and that of a lung, "opacity", "appearance", "looked",
    "detection …", a score, "airspace", a zone, "parameters", or "not analysed". ``finding``: only
    what was found. ``evaluations``: concept name and coded answer. ``texts``: concept name and
    sentence. ``network``: which bundle answered.
    ``others``: how many of the numbers, the last ones, are of what was not found.
    ``parameters``: what the algorithms ran with, and what reads the film's findings back. Without
    a ``place`` it is about the film as a whole.
    """

    key: str
    tracking: str
    finding: Code | None
    place: Polygon | None
    numbers: tuple[Number, ...] = ()
    evaluations: tuple[tuple[Code, Code], ...] = ()
    site: Site | None = None
    texts: tuple[tuple[Code, str], ...] = ()
    network: str = ""
    others: int = 0
    parameters: tuple[str, ...] = ()

    @property
    def of_finding(self) -> int:
        """How many of the numbers, the first ones, are of what was found."""
        return len(self.numbers) - self.others if self.finding is not None else 0


def percentage(fraction: float) -> float:
    """Return ``fraction`` as a percentage, by moving the decimal point: no digit is lost to it."""
    return float(Decimal(repr(float(fraction))).scaleb(2))


def fraction_of(percentage: float) -> float:
    """Return the fraction that `percentage` was given: the same to 15 significant digits."""
    return float(Decimal(repr(percentage)).scaleb(-2))
