"""Whether a bundle that declares what it eats (``[eats]``) is for a film, by the header alone.

Pure, and in the words of `dicom_node.intake.admit`: a reason quotes coded attributes and our own
rules, never a description. Our own networks eat what `admit` admits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom import config
from pydicom.uid import UID

from dicom_node.bundles.declared import FILMS, Eats
from dicom_node.imaging.header import FilmHeader
from dicom_node.intake.admit import no_plain_film, own_result, says_chest
from dicom_node.intake.parts import PARTS, BodyPart, part_of
from dicom_node.intake.rules import AdmissionRules
from dicom_node.intake.said import (
    descriptions,
    either,
    folded,
    keys_of,
    match_in,
    phrase_in,
    says_nothing,
    shown,
    without,
)

_CHEST = frozenset({"chest", "thorax", "lung"})

_LATERAL, _OTHER = "LATERAL", "another view"
_FRONTAL = frozenset({"PA", "AP", "FRONTAL"})
_SAME = {"LAT": _LATERAL}
"""Other spellings of a view that ``eats.views`` may name."""

_LATERAL_WORDS: Mapping[str, tuple[str, ...]] = {
    "LL": ("ll", "llat"),
    "RL": ("rl", "rlat"),
    _LATERAL: (
        "lat", "lateral*", "latl", "sideways", "seitlich*", "seitl", "profil*", "perfil*",
        "latero*", "dwars", "boczn*", "bocn*", "oldal*", "боков*", "бок", "*側*", "*侧*",
    ),
}  # fmt: skip

_VIEW_CODES: Mapping[str, frozenset[str]] = {
    # Of the foot.
    "FRONTAL": frozenset({"SCT:399335002", "SRT:R-102C4", "SCT:399071006", "SRT:R-102C3"}),
    # Lateral, lateral-medial, medial-lateral.
    _LATERAL: frozenset({
        "SCT:399067008", "SRT:R-102CD", "SCT:399352003", "SRT:R-10228", "SCT:399260004",
        "SRT:R-10224",
    }),
    "LL": frozenset({"SCT:399173006", "SRT:R-10236"}),
    "RL": frozenset({"SCT:399198007", "SRT:R-10232"}),
    "CC": frozenset({"SCT:399162004", "SRT:R-10242"}),
    "MLO": frozenset({"SCT:399368009", "SRT:R-10226"}),
}  # fmt: skip
"""View Code Sequence (PS3.16 CID 4010 and 4014), beside the frontal ones of admission.toml."""


def not_eaten(header: FilmHeader, eats: Eats, rules: AdmissionRules) -> str | None:
    """Return why a bundle is not for a film; None: it eats it.

    Body part: Body Part Examined, else the codes of the anatomic region, else words of the
    descriptions. View: View Position, else view codes, else words of series, protocol and procedure
    step, else Patient Orientation. What a header does not tell, ``eats.unspecific`` decides, of
    each of the two by itself. ``rules``: what words and codes mean a chest or a frontal view, which
    values say nothing, and which image types nobody is asked about.
    """
    return (
        own_result(header)
        or _no_such_object(header, eats, rules)
        or no_plain_film(header, rules)
        or _no_such_part(header, eats, rules)
        or _no_such_view(header, eats, rules)
    )


def view_said(header: FilmHeader, rules: AdmissionRules) -> str:
    """Return the view that a header states, by View Position or a code; "" where it states none."""
    if not says_nothing(header.view_position, rules.view.unspecific):
        return shown(header.view_position.upper())
    return min(_coded_views(header, rules), default="")


def _no_such_object(header: FilmHeader, eats: Eats, rules: AdmissionRules) -> str | None:
    """Return why neither modality nor SOP class fit, in the words of `admit` where it agrees."""
    modality, wanted = header.modality.upper(), {each.upper() for each in eats.modalities}
    if modality and modality not in wanted:
        plain = wanted <= {*rules.object.modalities} and modality not in rules.object.modalities
        what = "is no radiograph" if plain else f"is not {either(eats.modalities)}"
        return f"modality {shown(header.modality)} {what}"
    if header.sop_class_uid not in eats.sop_class_uids:
        classes = {*rules.object.sop_classes}
        plain = eats.sop_class_uids <= classes and header.sop_class_uid not in classes
        names = (each if each in FILMS else _named(each) for each in eats.sop_classes)
        what = "is no radiograph" if plain else f"is not {either(names)}"
        return f"SOP class {_named(header.sop_class_uid)} {what}"
    return None if header.modality else "modality is missing"


def _named(sop_class_uid: str) -> str:
    name = UID(sop_class_uid, validation_mode=config.IGNORE).name
    return shown(name.removesuffix(" Storage"))


def _no_such_part(header: FilmHeader, eats: Eats, rules: AdmissionRules) -> str | None:
    """Return why this is none of the parts that are eaten; None where it is, or any is."""
    if not eats.body_parts:
        return None
    wanted = tuple(_Part(name, rules) for name in eats.body_parts)
    called = either(part.name.lower() for part in wanted)
    wider = [name for part in wanted for name in part.wider]
    body_part = header.body_part_examined
    if not says_nothing(body_part, (*rules.body_part.unspecific, *wider)):
        fits = any(part.is_called(body_part) for part in wanted)
        return None if fits else f"body part {shown(body_part)} is not {called}"
    if header.anatomic_regions:
        known = keys_of(header.anatomic_regions)
        meanings = [code.meaning for code in header.anatomic_regions]
        fits = any(part.is_coded(known, meanings) for part in wanted)
        return None if fits else f"anatomic region {shown(min(known))} is not {called}"
    for text in descriptions(header):
        if any(part.is_described(text) for part in wanted):
            return None
        if any(part.is_excluded(text) for part in wanted):
            return f"descriptions name another part of the body than the {called}"
    if eats.unspecific == "accept":
        return None
    return f"neither body part, anatomic region nor descriptions say {called}"


class _Part:
    """A part that is eaten: the chest by the rules of admission.toml, another by `PARTS`."""

    def __init__(self, name: str, rules: AdmissionRules) -> None:
        self.name, self._rules = name, rules.body_part
        chest = folded(name) in {*_CHEST, *map(folded, rules.body_part.accept)}
        self._part: BodyPart | None = None if chest else part_of(name)

    @property
    def wider(self) -> tuple[str, ...]:
        """What says too little of it."""
        return self._part.wider if self._part else ()

    def is_called(self, body_part: str) -> bool:
        """Whether Body Part Examined means it."""
        names = self._part.names if self._part else (self.name, *self._rules.accept)
        return folded(body_part) in {*map(folded, names)} or self.is_described(body_part)

    def is_coded(self, codes: set[str], meanings: Iterable[str]) -> bool:
        """Whether one of the codes of the region means it; codes nobody knows by their meaning."""
        if self._part is None:
            return not codes.isdisjoint(self._rules.regions)
        return not codes.isdisjoint(self._part.codes) or any(map(self.is_described, meanings))

    def is_described(self, text: str) -> bool:
        """Whether the words of a text mean it."""
        if self._part is None:
            return says_chest(text, self._rules) is True
        return phrase_in(without(text, self._rules.positioning), self._part.words) is not None

    def is_excluded(self, text: str) -> bool:
        """Whether the words of a text mean another part, where they do not mean this one."""
        if self._part is None:
            return says_chest(text, self._rules) is False
        plain = without(text, self._rules.positioning)
        others = (part for part in PARTS if {*part.names}.isdisjoint(self._part.wider))
        return says_chest(text, self._rules) is True or any(
            phrase_in(plain, part.words) is not None for part in others
        )


def _no_such_view(header: FilmHeader, eats: Eats, rules: AdmissionRules) -> str | None:
    """Return why this is none of the views that are eaten; None where it is, or any is."""
    if not eats.views:
        return None
    wanted = frozenset(_SAME.get(view.upper(), view.upper()) for view in eats.views)
    called = "frontal" if wanted in ({"PA", "AP"}, {"FRONTAL"}, _FRONTAL) else either(eats.views)
    position = header.view_position
    if not says_nothing(position, rules.view.unspecific):
        exact = folded(position) in map(folded, wanted)
        said = {*_views_in(position, wanted, rules)}
        fits = exact or (bool(said) and all(_is_among(view, wanted) for view in said))
        return None if fits else f"view position {shown(position)} is not {called}"
    if header.view_codes:
        coded = _coded_views(header, rules)
        fits = any(_is_among(view, wanted) for view in coded)
        code = shown(min(keys_of(header.view_codes)))
        return None if fits else f"view code {code} is not {called}"
    told = _by_words(header, wanted, rules)
    what = told if told is not None else _by_orientation(header, wanted)
    if what is not None:
        return f"{what} is not {called}" if what else None
    if eats.unspecific == "accept":
        return None
    return f"the film does not say that its view is {called}"


def _is_among(view: str, wanted: frozenset[str]) -> bool:
    """Whether a view that a film states is eaten; FRONTAL is any frontal one, LATERAL any side."""
    if view in wanted:
        return True
    if view in _FRONTAL:
        return "FRONTAL" in wanted or (view == "FRONTAL" and not wanted.isdisjoint(_FRONTAL))
    return view in _LATERAL_WORDS and _LATERAL in wanted


def _views_in(text: str, wanted: frozenset[str], rules: AdmissionRules) -> dict[str, str]:
    """Return the views that a text names, each with the pattern of ours that says so."""
    words = {**rules.view.words, **_LATERAL_WORDS}
    words |= {view: (view,) for view in wanted if view not in words}
    said = {view: match for view, patterns in words.items() if (match := match_in(text, patterns))}
    if "LL" in said or "RL" in said:
        said.pop(_LATERAL, None)
    known = {each for patterns in _LATERAL_WORDS.values() for each in patterns}
    others = (each for each in rules.view.other_words if each not in known)
    if not (said.keys() - rules.view.words.keys() - _LATERAL_WORDS.keys()) and (
        other := match_in(text, others)
    ):
        said[_OTHER] = other
    return said


def _coded_views(header: FilmHeader, rules: AdmissionRules) -> set[str]:
    """Return the views that the codes of a film mean."""
    known = keys_of(header.view_codes)
    tables = (*rules.view.codes.items(), *_VIEW_CODES.items())
    return {view for view, codes in tables if not known.isdisjoint(codes)}


def _by_words(header: FilmHeader, wanted: frozenset[str], rules: AdmissionRules) -> str | None:
    """Return "" where descriptions name an eaten view, what names another, None for neither.

    A study's description covers all its views; a text that names an eaten view and another says
    nothing.
    """
    for text in (
        header.series_description,
        header.protocol_name,
        header.procedure_step_description,
    ):
        said = _views_in(text, wanted, rules)
        fitting = [view for view in said if _is_among(view, wanted)]
        if said and len(fitting) == len(said):
            return ""
        if said and not fitting:
            return f"a description with {next(iter(said.values()))!r}"
    return None


def _by_orientation(header: FilmHeader, wanted: frozenset[str]) -> str | None:
    """Return as `_by_words` does: a row along A or P is a lateral film, along L or R a frontal."""
    along = header.patient_orientation[0].strip() if header.patient_orientation else ""
    if along[:1] in ("A", "P") and along:
        view = _LATERAL
    elif along in ("L", "R"):
        view = "FRONTAL"
    else:
        return None
    if _is_among(view, wanted):
        return ""
    if view == _LATERAL and not wanted.isdisjoint(_LATERAL_WORDS):
        return None  # of one side only, and this is not told
    return f"patient orientation {shown('/'.join(header.patient_orientation))}"
