"""Whether two films are of one person, by the Patient Module of each (PS3.3 C.7.1.1).

Decided conservatively, since a course of another patient is worse than none: what is placeholder,
removed or empty is no identity, and what contradicts ends it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Literal

from pydicom import Dataset

from dicom_node.imaging.placeholders import Placeholders, shipped, words_of
from dicom_node.imaging.received import stored_bytes
from dicom_node.imaging.values import text

_KEY_DOMAIN = "patient 2"
"""Part of every key: what an older rule joined is never joined with it."""

_LOST = "\N{REPLACEMENT CHARACTER}"
_SAYS_NO_SEX = frozenset({"", "U", "UNK", "UNKNOWN", "N", "NONE", "NA", "X", "-", "?"})


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose film it is, as its header says, decoded; "" where it says nothing.

    ``birth_date``: eight digits where it is a date at all. ``taken``: the day of the film, eight
    digits. ``is_nobody``: the header itself says that it names no patient.
    """

    patient_id: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)
    taken: str = ""
    is_nobody: bool = False

    @property
    def key(self) -> str:
        """A digest that films of one patient share, "" for none. It preselects, and no more."""
        if not self.patient_id or _LOST in self.patient_id:
            return ""
        said = (_KEY_DOMAIN, self.patient_id, self.issuer)
        return hashlib.sha256("\0".join(said).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Same:
    """Two films are of one person."""


@dataclass(frozen=True, slots=True)
class Different:
    """Two films cannot be of one person. ``what``: the fact that contradicts."""

    what: Literal["Patient ID", "issuer of the Patient ID", "name", "birth date", "sex"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell; ``why`` is a clause without patient data."""

    why: str


def patient_of(dataset: Dataset) -> Patient:
    """Return whose film a data set is. Never raises, whatever the values are."""
    born = text(dataset, "PatientBirthDate")
    days = (text(dataset, f"{prefix}Date") for prefix in ("Study", "Acquisition", "Content"))
    return Patient(
        patient_id=text(dataset, "PatientID"),
        issuer=text(dataset, "IssuerOfPatientID"),
        name=_name(dataset),
        # ACR-NEMA wrote 1980.01.31.
        birth_date=re.sub(r"[.\-/]", "", born),
        sex=text(dataset, "PatientSex").upper(),
        taken=next((day for day in days if re.fullmatch(r"\d{8}", day)), ""),
        is_nobody=(
            text(dataset, "PatientIdentityRemoved").upper() == "YES"
            or text(dataset, "QualityControlSubject").upper() == "YES"
            or bool(text(dataset, "DeidentificationMethod"))
            or "DeidentificationMethodCodeSequence" in dataset
        ),
    )


def same_person(
    one: Patient, other: Patient, known: Placeholders | None = None
) -> Same | Different | Unknown:
    """Return whether two films are of one person.

    One Patient ID of one issuer that is no placeholder, one name as far as both spell it, and one
    birth date; where neither has a birth date, the whole name has to be the same.
    """
    known = known or shipped()
    if why := why_nobody(one, known) or why_nobody(other, known):
        return Unknown(why)
    one, other = _without_placeholders(one, known), _without_placeholders(other, known)
    if what := contradiction(one, other):
        return Different(what)
    if one.issuer != other.issuer:
        return Unknown("one of them does not say who issued its Patient ID")
    agreement = _names_agree(one.name, other.name)
    if agreement in ("no names", "perhaps"):
        return Unknown("the names cannot be compared")
    if bool(one.birth_date) != bool(other.birth_date):
        return Unknown("one of them has no birth date")
    if not one.birth_date and (agreement == "in part" or len(words_of(one.name)) < 2):
        return Unknown("without a birth date the whole name has to be the same")
    return Same()


def why_nobody(patient: Patient, known: Placeholders | None = None) -> str:
    """Return why a header names no patient whom others could be compared with; "" if it does."""
    known = known or shipped()
    if patient.is_nobody:
        return "the header says that it names no patient"
    if not patient.patient_id:
        return "there is no Patient ID"
    if _LOST in patient.patient_id:
        return "the Patient ID cannot be read in its character set"
    dates = (patient.taken, patient.birth_date)
    if known.is_id(patient.patient_id, *(day for day in dates if len(day) == 8)):
        return "the Patient ID is a placeholder"
    if words_of(patient.patient_id) == words_of(patient.name):
        return "the Patient ID is the name"
    return ""


Contradicting = Literal[
    "", "Patient ID", "issuer of the Patient ID", "name", "birth date", "sex"
]  # fmt: skip


def contradiction(one: Patient, other: Patient) -> Contradicting:
    """Return the fact that both films state and that differs in meaning; "" where none does.

    An empty attribute contradicts nothing, nor does another spelling of a name.
    """
    if _differ(one.patient_id, other.patient_id):
        return "Patient ID"
    if _differ(one.issuer, other.issuer):
        return "issuer of the Patient ID"
    if _names_agree(one.name, other.name) == "not":
        return "name"
    if _differ(one.birth_date, other.birth_date):
        return "birth date"
    return "sex" if _differ(_sex(one), _sex(other)) else ""


def one_patient(patients: Sequence[Patient]) -> bool:
    """Whether no two of the films contradict each other."""
    return not any(contradiction(one, other) for one, other in combinations(unlike(patients), 2))


def unlike(patients: Iterable[Patient]) -> list[Patient]:
    """Return one of those that say the same of a person: most films of a study do."""
    return list({replace(patient, taken=""): patient for patient in patients}.values())


def merged(patients: Sequence[Patient]) -> Patient:
    """Return what films that do not contradict each other say together."""
    first = patients[0]
    said = {
        each.name: next(filter(None, (getattr(p, each.name) for p in patients)), "")
        for each in fields(Patient)
        if each.name != "is_nobody"
    }
    return replace(first, **said, is_nobody=any(patient.is_nobody for patient in patients))


def by_patient(patients: Sequence[Patient]) -> list[list[int]]:
    """Return the places of films that belong together, in the order of their first film.

    All of them, unless two contradict each other: then a film with an empty attribute could be of
    either, and only films that say exactly the same stay together.
    """
    if one_patient(patients):
        return [list(range(len(patients)))] if patients else []
    groups: dict[Patient, list[int]] = {}
    for place, patient in enumerate(patients):
        spelt = "=".join(" ".join(sorted(words_of(group))) for group in patient.name.split("="))
        exact = replace(patient, name=spelt.rstrip("="), sex=_sex(patient), taken="")
        groups.setdefault(exact, []).append(place)
    return list(groups.values())


def _name(dataset: Dataset) -> str:
    said = text(dataset, "PatientName")
    if _LOST not in said:
        return said
    # In bytes that its character set does not have: compared byte by byte, as if Latin-1.
    stored = stored_bytes(dataset, "PatientName")
    return "" if stored is None else stored.decode("latin-1")


def _without_placeholders(patient: Patient, known: Placeholders) -> Patient:
    groups = patient.name.split("=")
    name = "=".join("" if known.is_name(group) else group for group in groups)
    dummy = known.is_birth_date(patient.birth_date, patient.taken)
    return replace(patient, name=name, birth_date="" if dummy else patient.birth_date)


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _sex(patient: Patient) -> str:
    return "" if patient.sex in _SAYS_NO_SEX else patient.sex


_Agreement = Literal["yes", "in part", "perhaps", "not", "no names"]


def _names_agree(one: str, other: str) -> _Agreement:
    """Return how far two names agree, group by group: those that both films have."""
    said = [
        _groups_agree(mine, yours)
        for mine, yours in zip(one.split("="), other.split("="), strict=False)
        if words_of(mine) and words_of(yours)
    ]
    for worst in ("not", "perhaps", "in part"):
        if worst in said:
            return worst
    return "yes" if said else "no names"


def _groups_agree(one: str, other: str) -> _Agreement:
    if _suffix(one) and _suffix(other) and _suffix(one) != _suffix(other):
        return "not"
    pairs = list(zip(_spellings(one), _spellings(other), strict=True))
    if set(_whole(one)) & set(_whole(other)):
        return "yes"
    if any(_is_part(mine, yours) or _is_part(yours, mine) for mine, yours in pairs):
        return "in part"
    if any(_may_be(mine, yours) or _may_be(yours, mine) for mine, yours in pairs):
        return "perhaps"
    return "not"


def _whole(group: str) -> Iterator[tuple[str, ...]]:
    """Yield a name in each spelling: its words in any order, and all of them as one."""
    for family, given in _spellings(group):
        yield tuple(sorted(family + given))
        yield ("".join(family + given),)


def _spellings(group: str) -> list[tuple[list[str], list[str]]]:
    """Return the words of family and of given names, umlauts dropped, then spelt out.

    A prefix ("Dr.") tells nobody apart; a name without carets is one whole (PS3.5 6.2.1.1).
    """
    family, *given = group.split("^")[:3]
    return [
        (words_of(family, spelt_out=out), words_of(" ".join(given), spelt_out=out))
        for out in (False, True)
    ]


def _suffix(group: str) -> list[str]:
    return words_of(" ".join(group.split("^")[4:5]))


def _is_part(one: tuple[list[str], list[str]], other: tuple[list[str], list[str]]) -> bool:
    """Whether one name is the other less a second given name or half of a double family name.

    A number more is neither: so twins are told apart.
    """
    return all(
        bool(set(mine))
        and set(mine) <= set(yours)
        and not any(map(_counts, set(yours) - set(mine)))
        for mine, yours in zip(one, other, strict=True)
    )


def _counts(word: str) -> bool:
    return bool(re.fullmatch(r"\d+|i{2,3}|iv|vi{1,3}", word))


def _may_be(one: tuple[list[str], list[str]], other: tuple[list[str], list[str]]) -> bool:
    """Whether one name may be the other in initials, or without its given names."""
    mine, yours = one[0] + one[1], other[0] + other[1]
    return bool(mine) and all(
        any(word == full or (len(word) == 1 and full.startswith(word)) for full in yours)
        for word in mine
    )
