"""Admit frontal chest radiographs for analysis, decline everything else with its reason.

Pure: a header and the rules in, a decision out. A reason may be shown and logged, so it quotes
coded attributes and our own rules, never a description: people type names into those.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import config
from pydicom.uid import UID

from dicom_node.imaging.header import CodedEntry, FilmHeader
from dicom_node.intake.rules import AdmissionRules, BodyPartRules, PriorityRule, ViewRules

OWN_MANUFACTURER = "dicom-node"
OWN_SERIES = "AI CXR "
OWN_RESULT = "result object of this node"

RANKS = 100
"""So many places lie between two priorities."""

_WORD = re.compile(r"[^\W\d_]+")
_SNOMED_RT = frozenset({"SNM3", "99SDM"})
_SHOWN_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Admitted:
    """The film is analysed; ``view`` is "PA", "AP", "FRONTAL", or "" where the film says none."""

    view: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The instance is kept, but not analysed, for a reason in plain words."""

    reason: str


def admit(
    header: FilmHeader, rules: AdmissionRules, own_instances: Container[str] = ()
) -> Admitted | Declined:
    """Decide whether this is a frontal chest radiograph by its header alone.

    ``own_instances``: SOP Instance UIDs of results that this node has written, if they are at hand.
    """
    reason = (
        _own(header, own_instances)
        or _no_radiograph(header, rules)
        or _no_plain_film(header, rules)
        or _no_chest(header, rules.body_part)
    )
    return Declined(reason) if reason else _by_view(header, rules.view)


def priority_of(header: FilmHeader, senders: Iterable[str], rules: AdmissionRules) -> int:
    """Return how urgent a film is: the highest value of the rules that fit it, 0 if none does.

    ``senders``: the AE titles that sent its study.
    """
    said = [title.strip() for title in senders]
    fitting = (rule.value for rule in rules.priority if _fits(header, said, rule))
    return max(fitting, default=0)


def rank_of(priority: int, earlier_severity: float | None) -> int:
    """Return in which order films go, the highest first: by ``priority``, then by earlier findings.

    ``earlier_severity``: of the most severe earlier film of the patient, None where there is none.
    Whole points count, so that who was as good as normal does not overtake who is new.
    """
    return priority * RANKS + min(max(int(earlier_severity or 0), 0), RANKS - 1)


def _fits(header: FilmHeader, senders: list[str], rule: PriorityRule) -> bool:
    descriptions = " ".join(_descriptions(header))
    return (
        (not rule.calling_ae_titles or not set(senders).isdisjoint(rule.calling_ae_titles))
        and (not rule.stations or _is_one_of(header.station_name, rule.stations))
        and (not rule.requested or _is_one_of(header.requested_procedure_priority, rule.requested))
        and (not rule.words or _match(descriptions, rule.words) is not None)
    )


def _is_one_of(value: str, names: Iterable[str]) -> bool:
    return _plain(value.strip()) in {_plain(name.strip()) for name in names}


def _own(header: FilmHeader, own_instances: Container[str]) -> str | None:
    ours = (
        header.manufacturer.casefold() == OWN_MANUFACTURER
        or header.series_description.startswith(OWN_SERIES)
        or header.sop_instance_uid in own_instances
    )
    return OWN_RESULT if ours else None


def _no_radiograph(header: FilmHeader, rules: AdmissionRules) -> str | None:
    if header.modality and header.modality.upper() not in rules.object.modalities:
        return f"modality {_shown(header.modality)} is no radiograph"
    if header.sop_class_uid not in rules.object.sop_classes:
        name = UID(header.sop_class_uid, validation_mode=config.IGNORE).name
        return f"SOP class {_shown(name.removesuffix(' Storage'))} is no radiograph"
    return None if header.modality else "modality is missing"


def _no_plain_film(header: FilmHeader, rules: AdmissionRules) -> str | None:
    if header.number_of_frames != 1:
        return f"{header.number_of_frames} frames, a film has one"
    if header.presentation_intent_type.upper() == "FOR PROCESSING":
        return "image is for processing, not for presentation"
    photometric = header.photometric_interpretation
    if photometric and not photometric.startswith("MONOCHROME"):
        return f"colour picture ({_shown(photometric)})"
    for value in header.image_type:
        if value.upper() in rules.object.image_types_declined:
            return f"image type {_shown(value)} is no plain radiograph"
    return None


def _no_chest(header: FilmHeader, rules: BodyPartRules) -> str | None:
    """Return why this is no chest: by Body Part Examined, else region codes, else descriptions."""
    body_part = header.body_part_examined
    if not _says_nothing(body_part, rules.unspecific):
        accepted = _folded(body_part) in {_folded(each) for each in rules.accept}
        if accepted or _says_chest(body_part, rules):
            return None
        return f"body part {_shown(body_part)} is not chest"
    if header.anatomic_regions:
        known = {_key(code) for code in header.anatomic_regions}
        if known & set(rules.regions):
            return None
        return f"anatomic region {_shown(sorted(known)[0])} is not chest"
    for text in _descriptions(header):
        says = _says_chest(text, rules)
        if says is not None:
            return None if says else "descriptions name another part of the body than the chest"
    if rules.when_unspecific == "ask-pixels":
        return None
    return (
        "neither body part, anatomic region nor descriptions say chest, and "
        "admission.when_unspecific declines such films"
    )


def _says_chest(text: str, rules: BodyPartRules) -> bool | None:
    """Whether the words of a text mean a chest alone (True), another part (False), or neither."""
    if _match(_without(text, rules.positioning), rules.other_words):
        return False
    return True if _match(text, rules.words) else None


def _by_view(header: FilmHeader, rules: ViewRules) -> Admitted | Declined:
    """Decide by View Position, else view codes, else descriptions, else Patient Orientation."""
    position = header.view_position
    if not _says_nothing(position, rules.unspecific):
        view = _frontal(position, rules)
        return Admitted(view) if view else _not_frontal(f"view position {_shown(position)}")
    if header.view_codes:
        views = {name for name, codes in rules.codes.items() if _keys(header.view_codes) & {*codes}}
        accepted = sorted(view for view in views if _is_accepted(view, rules))
        shown = _shown(min(_keys(header.view_codes)))
        return Admitted(accepted[0]) if accepted else _not_frontal(f"view code {shown}")
    return _by_descriptions(header, rules) or _by_orientation(header, rules)


def _frontal(position: str, rules: ViewRules) -> str | None:
    """Return the frontal view that a View Position means, None where it means none."""
    for view in rules.accept:
        if _folded(position) == _folded(view):
            return view
    return None if _match(position, rules.other_words) else _named_view(position, rules)


def _named_view(text: str, rules: ViewRules) -> str | None:
    for view, words in rules.words.items():
        if _is_accepted(view, rules) and _match(text, words):
            return view
    return None


def _by_descriptions(header: FilmHeader, rules: ViewRules) -> Admitted | Declined | None:
    """Decide by what is said of series and protocol; a study's description covers all its views."""
    for text in (
        header.series_description,
        header.protocol_name,
        header.procedure_step_description,
    ):
        other, view = _match(text, rules.other_words), _named_view(text, rules)
        if other and not view:
            return _not_frontal(f"a description with {other!r}")
        if view and not other:
            return Admitted(view)
    return None


def _by_orientation(header: FilmHeader, rules: ViewRules) -> Admitted | Declined:
    along_rows = header.patient_orientation[0] if header.patient_orientation else ""
    if along_rows[:1] in ("A", "P"):
        return _not_frontal(f"patient orientation {_shown('/'.join(header.patient_orientation))}")
    if rules.when_unknown == "admit":
        return Admitted("")
    return Declined("the film does not say that its view is frontal")


def _not_frontal(what: str) -> Declined:
    return Declined(f"{what} is not frontal")


def _is_accepted(view: str, rules: ViewRules) -> bool:
    """Whether a view may be analysed: "FRONTAL" is any of those that are accepted."""
    return view == "FRONTAL" or view in rules.accept


def _descriptions(header: FilmHeader) -> tuple[str, ...]:
    return (
        header.series_description,
        header.protocol_name,
        header.procedure_step_description,
        header.study_description,
    )


def _keys(codes: Iterable[CodedEntry]) -> set[str]:
    return {_key(code) for code in codes}


def _key(code: CodedEntry) -> str:
    """Return SCHEME:VALUE, the older names of SNOMED RT as SRT."""
    scheme = "SRT" if code.scheme in _SNOMED_RT else code.scheme
    return f"{scheme}:{code.value}"


def _says_nothing(value: str, unspecific: Iterable[str]) -> bool:
    """Whether a value is empty or unspecific, as a whole or in each of its words."""
    nothing = {_folded(each) for each in ("", *unspecific)}
    words = _words(value)
    return _folded(value) in nothing or (bool(words) and nothing.issuperset(words))


def _without(text: str, phrases: Iterable[str]) -> str:
    """Return the words of a text without those of the phrases."""
    left = f" {' '.join(_words(text))} "
    for phrase in sorted(phrases, key=len, reverse=True):
        left = left.replace(f" {' '.join(_words(phrase))} ", " ")
    return left


def _words(text: str) -> list[str]:
    return _WORD.findall(_plain(text).replace(".", ""))


def _match(text: str, patterns: Iterable[str]) -> str | None:
    """Return the first pattern that a word of the text matches."""
    words = _words(text)
    for pattern in patterns:
        plain = _plain(pattern)
        if any(fnmatchcase(word, plain) for word in words):
            return pattern
    return None


def _plain(text: str) -> str:
    """Return text without case, accents and the marks of vowels."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))


def _folded(text: str) -> str:
    return "".join(each for each in _plain(text) if each.isalnum())


def _shown(value: str) -> str:
    """Return a foreign value as it may stand in a reason: printable, on one line, not long."""
    clean = "".join(each if each.isprintable() else "?" for each in value.strip())
    return clean if len(clean) <= _SHOWN_LENGTH else f"{clean[:_SHOWN_LENGTH]}…"
