"""What a search by QIDO-RS asks, and whether an answer matches it (PS3.4 C.2.2.2, PS3.18 8.3.4).

A key that cannot be matched is never passed over in silence: the answer carries a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from fastapi import HTTPException, Request
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

MOST = 1000
"""Answers at once; there are more behind them by ``offset``."""

_DEFAULT, _FAR = 100, 1_000_000
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_OPTIONS = ("limit", "offset", "includefield", "fuzzymatching")
_LISTED = re.compile(r"[,\\]")
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MatchingKey:
    """An attribute that must match one of ``values``: as asked, lists of UIDs and codes apart."""

    keyword: str
    tag: str
    vr: str
    values: tuple[str, ...]

    @property
    def exact(self) -> str:
        """The only value, where it has no wildcard; "" else."""
        plain = len(self.values) == 1 and not set("*?") & set(self.values[0])
        return self.values[0] if plain else ""

    def matches(self, document: Document) -> bool:
        """Whether an answer in DICOM JSON has a value that is meant."""
        return self.means(_texts(document.get(self.tag, {}).get("Value", ())))

    def means(self, texts: Iterable[str]) -> bool:
        """Whether one of an attribute's values, as text, is meant."""
        given = list(texts)
        return any(_is_meant(self.vr, wanted, text) for wanted in self.values for text in given)


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked. ``unknown``: names of parameters that are no attribute known here."""

    keys: tuple[MatchingKey, ...]
    limit: int
    offset: int
    fields: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    fuzzy: bool = False
    warnings: list[str] = field(default_factory=list)

    def key(self, keyword: str) -> MatchingKey | None:
        """Return the key of an attribute, if it is asked for."""
        return next((key for key in self.keys if key.keyword == keyword), None)

    def only(self, known: Sequence[str]) -> Sequence[MatchingKey]:
        """Return the keys that can be matched against ``known``; of the others, warn."""
        others = [key.keyword for key in self.keys if key.keyword not in known]
        if left := [*others, *self.unknown]:
            self.warnings.append(f"These keys were not looked at: {' '.join(left)}")
        if self.fuzzy:
            self.warnings.append(
                "The fuzzymatching parameter is not supported."
                " Only literal matching has been performed."
            )
        return [key for key in self.keys if key.keyword in known]

    def headers(self, base: str) -> dict[str, str]:
        """Return the Warning header of the answer, if there is something to say."""
        told = ", ".join(f'299 {base} "{each}"' for each in self.warnings)
        return {"Warning": told} if told else {}

    def more(self, number: int | None) -> None:
        """Tell that there are ``number`` more answers, or an unknown number of them."""
        self.warnings.append(
            f"There are {'' if number is None else f'{number} '}additional results that can be"
            f" requested: offset={self.offset + self.limit}"
        )


def search_of(request: Request) -> Search:
    """Return what a request asks. Raises 400 where limit or offset are no numbers."""
    asked: dict[str, list[str]] = {}
    unknown: dict[str, None] = {}
    given = request.query_params
    for name, value in given.multi_items():
        if name in _OPTIONS or not value.strip("* "):
            continue  # an empty value, or "*", asks for nothing (C.2.2.2.3)
        if keyword := _keyword(name):
            asked.setdefault(keyword, []).append(value)
        else:
            unknown[re.sub(r"[^\w.]", "?", name, flags=re.ASCII)[:64]] = None
    fields = [part for each in given.getlist("includefield") for part in each.split(",")]
    return Search(
        keys=tuple(_key(keyword, values) for keyword, values in asked.items()),
        limit=min(_number(given.get("limit"), _DEFAULT), MOST),
        offset=min(_number(given.get("offset"), 0), _FAR),
        fields=tuple(filter(None, map(_keyword, fields))),
        unknown=tuple(unknown),
        fuzzy=given.get("fuzzymatching", "").lower() == "true",
    )


def _number(text: str | None, default: int) -> int:
    if not text:
        return default
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise HTTPException(400, "limit and offset are whole numbers from 0 on.")
    return int(text)


def _keyword(name: str) -> str:
    """Return the keyword of an attribute, named either way (PS3.18 8.3.4); "" if there is none."""
    if _TAG.fullmatch(name):
        return keyword_for_tag(int(name, 16))
    return name if tag_for_keyword(name) is not None else ""


def _key(keyword: str, values: Sequence[str]) -> MatchingKey:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)[:2]
    if vr in ("UI", "CS"):
        values = [part.strip() for value in values for part in _LISTED.split(value)]
    return MatchingKey(keyword, f"{tag:08X}", vr, tuple(filter(None, values)))


def _texts(values: Iterable[Any]) -> Iterable[str]:
    """Yield values of DICOM JSON as text: of a name all its groups together, and each alone."""
    for value in values:
        if not isinstance(value, Mapping):
            yield str(value)
            continue
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        yield "=".join(groups).rstrip("=")


def _is_meant(vr: str, wanted: str, text: str) -> bool:
    if vr in ("DA", "TM"):
        return _in_range(vr, wanted.strip(), text.strip())
    if vr == "PN":
        # Each group by itself as well: nobody types three scripts to find a person.
        forms = {form.casefold().rstrip("^ ") for form in (text, *text.split("="))} - {""}
        return any(_is_like(wanted.casefold().rstrip("^ "), form) for form in forms)
    if vr in _WILD:
        return _is_like(wanted.strip(), text.strip())
    return wanted.strip() == text.strip()


def _is_like(pattern: str, text: str) -> bool:
    """Whether a text is meant by a pattern with the wildcards of C.2.2.2.4."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _in_range(vr: str, wanted: str, text: str) -> bool:
    """Whether a date or a time is meant, or lies in a range that may be open (C.2.2.2.5)."""
    first, dash, last = wanted.partition("-")
    value = _digits(text)
    if not value:
        return False
    if not dash:
        return value.startswith(_digits(first)) if vr == "TM" else value == _digits(first)
    low, high = _digits(first), _digits(last)
    return (not low or value.ljust(12, "0") >= low.ljust(12, "0")) and (
        not high or value.ljust(12, "0") <= high.ljust(12, "9")
    )


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text, flags=re.ASCII)
