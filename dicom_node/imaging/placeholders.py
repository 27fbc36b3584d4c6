"""Values that stand for nobody: Patient IDs, names and birth dates that are filled in unknown.

The lists are data (``placeholders.toml`` and a site's own); what follows a rule is a rule here.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from itertools import pairwise

_OLDEST_YEARS = 115
_FEW_DIGITS = 3
_LONGEST = 128
_YEAR = re.compile("20[0-9]{2}")
_SPECIAL = str.maketrans(
    {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"}
)


@dataclass(frozen=True, slots=True)
class Placeholders:
    """What is nobody's: words folded by `folded`, birth dates of eight digits, patterns."""

    words: frozenset[str]
    also: frozenset[str]
    newborns: frozenset[str]
    birth_dates: frozenset[str]
    patterns_of_ids: tuple[re.Pattern[str], ...] = ()
    patterns_of_names: tuple[re.Pattern[str], ...] = ()

    def is_id(self, patient_id: str, *dates: str) -> bool:
        """Whether a Patient ID tells nobody apart; ``dates``, the film's own, add nothing to it."""
        # HL7 writes ID^^^AUTHORITY: the authority makes no person of a "0".
        return any(self._is_id(part, dates) for part in {patient_id, patient_id.partition("^")[0]})

    def is_name(self, name: str) -> bool:
        """Whether a name, one group of it (PS3.5 6.2.1), is nobody's own."""
        letters = letters_of(name)
        if _is_one_sign(letters) or any(each.fullmatch(letters) for each in self.patterns_of_names):
            return True
        # "B/O": baby of.
        if "b/o" in name.casefold() or any(word in self.newborns for word in words_of(name)):
            return True
        told = re.sub(r"\d", "", letters)
        return _is_made_of(told, self._all) and not _is_made_of(told, self.also)

    def is_birth_date(self, born: str, taken: str) -> bool:
        """Whether a birth date cannot be one, or is a usual stand-in; ``taken``: day of the film.

        Both of eight digits; ``taken`` may be empty.
        """
        day, film = _date(born), _date(taken)
        if day is None or born in self.birth_dates:
            return True
        if film is None:
            return False
        return day >= film or film.year - day.year > _OLDEST_YEARS

    def _is_id(self, patient_id: str, dates: Iterable[str]) -> bool:
        letters = letters_of(patient_id)
        if any(each.fullmatch(letters) for each in self.patterns_of_ids):
            return True
        for day in filter(None, dates):
            letters = letters.replace(day, "")
        numbers = re.findall(r"\d+", letters)
        told = re.sub(r"\d", "", letters)
        if not told:
            return _is_no_number(letters)
        if _is_one_sign(letters) or _is_run(letters):
            return True
        if not all(
            len(each) <= _FEW_DIGITS or _is_no_number(each) or _YEAR.fullmatch(each)
            for each in numbers
        ):
            return False
        if not _is_made_of(told, self._all):
            return False
        return not numbers or not _is_made_of(told, self.also)

    @property
    def _all(self) -> frozenset[str]:
        return self.words | self.also


@cache
def shipped() -> Placeholders:
    """Return the lists that come with the program."""
    text = resources.files("dicom_node.imaging").joinpath("placeholders.toml").read_text("utf-8")
    lists = tomllib.loads(text)
    return Placeholders(
        words=frozenset(map(letters_of, lists["words"])),
        also=frozenset(map(letters_of, lists["also"])),
        newborns=frozenset(map(letters_of, lists["newborns"])),
        birth_dates=frozenset(lists["birth_dates"]),
    )


@cache
def placeholders(
    ids: tuple[str, ...] = (), names: tuple[str, ...] = (), birth_dates: tuple[str, ...] = ()
) -> Placeholders:
    """Return the shipped lists with a site's own; ``*`` in an ID or a name is any signs."""
    known = shipped()
    return Placeholders(
        words=known.words,
        also=known.also,
        newborns=known.newborns,
        birth_dates=known.birth_dates | {re.sub(r"\D", "", each) for each in birth_dates},
        patterns_of_ids=tuple(map(_pattern, ids)),
        patterns_of_names=tuple(map(_pattern, names)),
    )


def folded(text: str, *, spelt_out: bool = False) -> str:
    """Return text without case and Latin, Greek, Cyrillic accents; widths of letters made one.

    ``spelt_out``: an umlaut becomes two letters, as where a device has none (ä ae, å aa).
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    if spelt_out:
        text = text.translate(_SPELT_OUT)
    apart = unicodedata.normalize("NFKD", text)
    bare = "".join(each for each in apart if not "\u0300" <= each <= "\u036f")
    return unicodedata.normalize("NFKC", bare).translate(_SPECIAL)


def letters_of(text: str) -> str:
    """Return the letters and digits of a text, folded."""
    return "".join(filter(str.isalnum, folded(text)))


def words_of(text: str, *, spelt_out: bool = False) -> list[str]:
    """Return the words of a text, folded; apostrophes and full stops part no word."""
    plain = re.sub(r"[.'`´‘’ʼ]", "", folded(text, spelt_out=spelt_out))
    return "".join(each if each.isalnum() else " " for each in plain).split()


_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(letters_of(part)) for part in text.split("*")))


def _is_one_sign(letters: str) -> bool:
    """Whether nothing is said, or one sign again and again: "", "0", "XXX"."""
    return len(set(letters)) <= 1


def _is_no_number(digits: str) -> bool:
    """Whether a number is one sign, counts up or down, or repeats such: 00099, 123456, 123123."""
    bare = digits.lstrip("0")
    if _is_one_sign(bare) or _is_run(bare) or _is_run(digits):
        return True
    halves = (bare[: len(bare) // parts] for parts in (2, 3, 4) if len(bare) % parts == 0)
    return any(_is_run(unit) and bare == unit * (len(bare) // len(unit)) for unit in halves)


def _is_run(letters: str) -> bool:
    steps = {(ord(after) - ord(before)) % 10 for before, after in pairwise(letters)}
    if letters.isdigit():
        return len(letters) > 2 and steps in ({1}, {9})
    return len(letters) > 2 and {ord(b) - ord(a) for a, b in pairwise(letters)} == {1}


def _is_made_of(letters: str, words: Collection[str]) -> bool:
    """Whether a text can be cut into the words without a rest."""
    if not letters or len(letters) > _LONGEST:
        return False
    reached = {0}
    for start in range(len(letters)):
        if start in reached:
            reached |= {start + len(w) for w in words if letters.startswith(w, start)}
    return len(letters) in reached


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None
