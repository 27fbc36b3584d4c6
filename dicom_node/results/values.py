"""What a measurement group says, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import Enum

from dicom_node.findings import Evidence
from dicom_node.results.cards import NetworkCard
from dicom_node.results.regions import Polygon
from dicom_node.results.template_parts import Code


class Unit(Enum):
    """The units of our numbers: (code value, code meaning) in UCUM, and how people read it."""

    PERCENT = ("%", "Percent", "%")
    EIGHT = ("{0:8}", "range: 0:8", "of 8")
    FOUR = ("{0:4}", "range: 0:4", "of 4")
    THREE = ("{0:3}", "range: 0:3", "of 3")


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement in ``unit``: ``exact`` for machines, ``shown`` for people."""

    key: str
    name: Code
    exact: float
    shown: str
    unit: Unit = Unit.PERCENT


@dataclass(frozen=True, slots=True)
class Site:
    """A lung or a part of one: Finding Site and Laterality."""

    place: Code
    laterality: Code


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One measurement group.

    ``key``: "impression", a class of the network, a score, "airspace", a zone, or "not analysed".
    ``evaluations``: concept name and coded answer. ``texts``: concept name and sentence.
    ``parameters``: what the network worked with, and what reads the group back. Without a ``site``
    it is about both lungs, without a ``place`` about the film as a whole.
    """

    key: str
    tracking: str
    finding: Code
    place: Polygon | None
    numbers: tuple[Number, ...] = ()
    evaluations: tuple[tuple[Code, Code], ...] = ()
    site: Site | None = None
    texts: tuple[tuple[Code, str], ...] = ()
    parameters: tuple[str, ...] = ()


def percentage(fraction: float) -> float:
    """Return ``fraction`` as a percentage, by moving the decimal point: no digit is lost to it."""
    return float(Decimal(repr(float(fraction))).scaleb(2))


def fraction_of(percentage: float) -> float:
    """Return the fraction that `percentage` was given: the same to 15 significant digits."""
    return float(Decimal(repr(percentage)).scaleb(-2))


def described(
    card: NetworkCard, output: str, numbers: tuple[Number, ...], evidence: Evidence | None
) -> tuple[str, ...]:
    """Return the algorithm parameters of a group: its network, and what reads it back."""
    checks = asdict(evidence) if evidence else {}
    return (
        f"network={card.id}",
        f"weights={card.weights}",
        f"output={output}",
        f"numbers={' '.join(number.key for number in numbers)}",
        *(f"check.{name}={value!r}" for name, value in checks.items() if value is not None),
    )
