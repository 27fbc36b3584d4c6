"""The words of the sources' tables, read: findings, views, ages, sexes."""

from __future__ import annotations

import re

FINDINGS = ("covid19", "pneumonia", "other", "normal")
"""Our findings. Of copies or films of one patient that differ, the first of these counts."""

APPEARANCES = ("negative", "typical", "indeterminate", "atypical")
"""What a film looks like in RSNA's language for COVID-19: no pneumonia, or one that looks so."""

ADULT = 18

_UNTOLD = frozenset({"", "todo", "unknown", "nan", "inconclusive"})
_NORMAL = frozenset({"no finding", "no findings", "normal"})
_NOT_INFECTIVE = frozenset({"lipoid", "aspiration"})
_GERMS = frozenset(
    {"sars", "mers", "mers-cov", "streptococcus", "klebsiella", "legionella", "chlamydophila",
     "e.coli", "mycoplasma", "varicella", "influenza", "pneumocystis", "aspergillosis"}
)  # fmt: skip
"""Tables until mid-2020 give the germ alone; later ones the path ``Pneumonia/Viral/SARS``."""

_OLDEST = 110
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([ymwd]?)", re.IGNORECASE)


def finding_of(words: str) -> str:
    """Return our finding for the words of a table; empty where they do not tell one.

    ``Pneumonia/Viral/COVID-19`` is a path from the general to the special; ``COVID-19, ARDS`` a
    list. Tuberculosis, ARDS alone, lipoid and aspiration pneumonia are ``other``.
    """
    text = words.strip().lower()
    parts = {part.strip() for part in re.split(r"[/,]", text)}
    if text in _UNTOLD:
        return ""
    if "covid-19" in parts:
        return "covid19"
    if text in _NORMAL:
        return "normal"
    if parts & {"pneumonia", *_GERMS} and not parts & _NOT_INFECTIVE:
        return "pneumonia"
    return "other"


def view_of(words: str) -> str:
    """Return PA, AP, AP Supine, ``unknown`` where nothing is said; empty for all else.

    Lateral films, CT planes and whatever is not known to be frontal give the empty view.
    """
    text = " ".join(words.replace("_", " ").upper().split())
    if text in {"", "UNKNOWN", "NAN"}:
        return "unknown"
    if text.startswith("AP"):
        return "AP Supine" if "SUPINE" in text else "AP"
    return "PA" if text.startswith("PA") else ""


def age_of(words: str) -> str:
    """Return whole years, empty if not told: ``65``, ``058Y``, ``011M``, ``50+``, ``mid 50s``.

    Ages beyond 110 (NIH has 411) are typing errors, so they tell nothing.
    """
    found = _AGE.search(words)
    if not found:
        return ""
    years = int(float(found[1])) if found[2].lower() in {"", "y"} else _years(found[1], found[2])
    return str(years) if years <= _OLDEST else ""


def _years(number: str, unit: str) -> int:
    return int(float(number) / {"m": 12.0, "w": 52.0, "d": 365.0}[unit.lower()])


def sex_of(words: str) -> str:
    """Return M or F, empty if not told."""
    letter = words.strip().upper()[:1]
    return letter if letter in {"M", "F"} else ""
