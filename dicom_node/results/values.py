"""What a measurement group says, as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from dicom_node.results.regions import Polygon
from dicom_node.results.template_parts import LONG_STRING, Code


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of UCUM: its code value and meaning, and how people read it."""

    code: str
    meaning: str
    shown: str


PERCENT = Unit("%", "Percent", "%")
EIGHT = Unit("{0:8}", "range: 0:8", "/ 8")
FOUR = Unit("{0:4}", "range: 0:4", "/ 4")
THREE = Unit("{0:3}", "range: 0:3", "/ 3")

PRIVATE_SCHEME = "99DICOMNODE"
"""The coding scheme of our own codes."""

_MEANINGS = {
    "%": "Percent", "1": "no units", "um": "micrometer", "mm": "millimeter", "cm": "centimeter",
    "m": "meter", "mm2": "square millimeter", "cm2": "square centimeter", "m2": "square meter",
    "mm3": "cubic millimeter", "cm3": "cubic centimeter", "m3": "cubic meter", "ul": "microliter",
    "mL": "milliliter", "ml": "milliliter", "dL": "deciliter", "dl": "deciliter", "L": "liter",
    "l": "liter", "mg": "milligram", "g": "gram", "kg": "kilogram",
    "kg/m2": "kilogram per square meter", "g/cm2": "gram per square centimeter",
    "mg/mL": "milligram per milliliter", "deg": "degree", "rad": "radian", "a": "year",
    "mo": "month", "wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second",
    "ms": "millisecond", "/min": "per minute", "Hz": "hertz", "mm[Hg]": "millimeter of mercury",
    "[hnsf'U]": "Hounsfield unit", "Cel": "degree Celsius", "{ratio}": "ratio",
}  # fmt: skip
_ON_A_SCALE = re.compile(r"\{(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)\}")


def unit_of(code: str, words: Mapping[str, str] = MappingProxyType({})) -> Unit:
    """Return a unit by its UCUM code; "" has none. ``words``: how codes are read, by code.

    Of one without a known meaning, the code itself is it, as many do (PS3.16 CID 82).
    """
    code = code or "1"
    scale = _ON_A_SCALE.fullmatch(code)
    if scale:
        lowest, highest = scale.groups()
        return Unit(code, f"range: {lowest}:{highest}", f"/ {highest}")
    annotation = code[1:-1] if code.startswith("{") and code.endswith("}") else ""
    plain = "" if code == "1" else annotation or code
    return Unit(code, _MEANINGS.get(code, plain)[:LONG_STRING], words.get(code, plain))


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement in ``unit``: ``exact`` for machines, ``shown`` for people.

    ``also``: the same concept as the standard codes it, which does not say of what.
    """

    key: str
    name: Code
    exact: float
    shown: str
    unit: Unit = PERCENT
    also: Code | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """Where: Finding Site, and Laterality, where there is one."""

    place: Code
    laterality: Code | None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One measurement group.

    ``key``: "impression", "opacity map" and that of a lung, "opacity", "appearance", "looked",
    "detection …", a score, "airspace", a zone, "observed …", "parameters", or "not analysed".
    ``finding``: only what was found. ``evaluations``: concept name and coded answer. ``texts``:
    concept name and sentence. ``network``: which bundle answered.
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
