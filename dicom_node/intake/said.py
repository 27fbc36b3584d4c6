"""How texts and codes of a header are compared, and how they may be shown.

Words without case, accents and full stops; a ``*`` in a pattern stands for any letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from fnmatch import fnmatchcase

from dicom_node.imaging.header import CodedEntry, FilmHeader

_WORD = re.compile(r"[^\W\d_]+")
_SNOMED_RT = frozenset({"SNM3", "99SDM"})
_SHOWN_LENGTH = 32


def descriptions(header: FilmHeader) -> tuple[str, ...]:
    """Return what people wrote of a film, the nearest to it first. Never to be shown or logged."""
    return (
        header.series_description,
        header.protocol_name,
        header.procedure_step_description,
        header.study_description,
    )


def keys_of(codes: Iterable[CodedEntry]) -> set[str]:
    """Return `key_of` each code."""
    return {key_of(code) for code in codes}


def key_of(code: CodedEntry) -> str:
    """Return SCHEME:VALUE, the older names of SNOMED RT as SRT."""
    scheme = "SRT" if code.scheme in _SNOMED_RT else code.scheme
    return f"{scheme}:{code.value}"


def says_nothing(value: str, unspecific: Iterable[str]) -> bool:
    """Whether a value is empty or unspecific, as a whole or in each of its words."""
    nothing = {folded(each) for each in ("", *unspecific)}
    words = words_in(value)
    return folded(value) in nothing or (bool(words) and nothing.issuperset(words))


def without(text: str, phrases: Iterable[str]) -> str:
    """Return the words of a text without those of the phrases."""
    left = f" {' '.join(words_in(text))} "
    for phrase in sorted(phrases, key=len, reverse=True):
        left = left.replace(f" {' '.join(words_in(phrase))} ", " ")
    return left


def words_in(text: str) -> list[str]:
    """Return the words of a text, unmarked; digits and low lines are between words."""
    return _WORD.findall(unmarked(text).replace(".", ""))


def match_in(text: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that a word of the text matches."""
    words = words_in(text)
    for pattern in patterns:
        plain = unmarked(pattern)
        if any(fnmatchcase(word, plain) for word in words):
            return pattern
    return None


def unmarked(text: str) -> str:
    """Return text without case, accents and the marks of vowels."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))


def folded(text: str) -> str:
    """Return the letters and digits of a text, unmarked, to compare it as a whole."""
    return "".join(each for each in unmarked(text) if each.isalnum())


def shown(value: str) -> str:
    """Return a foreign value as it may stand in a reason: printable, on one line, not long."""
    clean = "".join(each if each.isprintable() else "?" for each in value.strip())
    return clean if len(clean) <= _SHOWN_LENGTH else f"{clean[:_SHOWN_LENGTH]}…"


def is_one_of(value: str, names: Iterable[str]) -> bool:
    """Whether a value is one of the names, without case and accents."""
    return unmarked(value.strip()) in {unmarked(name.strip()) for name in names}


def phrase_in(text: str, phrases: Iterable[str]) -> str | None:
    """Return the first phrase whose words follow each other in the text; ``*`` as in `match_in`."""
    words = words_in(text)
    for phrase in phrases:
        patterns = unmarked(phrase).replace("_", " ").split()
        starts = range(len(words) - len(patterns) + 1)
        if any(all(map(fnmatchcase, words[at:], patterns)) for at in starts):
            return phrase
    return None


def either(names: Iterable[str]) -> str:
    """Return names as a sentence lists them: "PA, AP or LL"."""
    *before, last = names
    return f"{', '.join(before)} or {last}" if before else last
