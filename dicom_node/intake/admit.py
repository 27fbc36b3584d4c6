"""Admit frontal chest radiographs for analysis, decline everything else with its reason.

Pure: a header and the rules in, a decision out. A reason may be shown and logged, so it quotes
coded attributes and our own rules, never a description: people type names into those.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from pydicom import config
from pydicom.uid import UID

from dicom_node.imaging.header import FilmHeader
from dicom_node.intake.rules import AdmissionRules, BodyPartRules, PriorityRule, ViewRules
from dicom_node.intake.said import (
    descriptions,
    folded,
    is_one_of,
    key_of,
    keys_of,
    match_in,
    says_nothing,
    shown,
    without,
)

OWN_MANUFACTURER = "dicom-node"
OWN_SERIES = "AI CXR "
OWN_RESULT = "result object of this node"

RANKS = 100
"""So many places lie between two priorities."""


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
        own_result(header, own_instances)
        or _no_radiograph(header, rules)
        or no_plain_film(header, rules)
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
    said = " ".join(descriptions(header))
    return (
        (not rule.calling_ae_titles or not set(senders).isdisjoint(rule.calling_ae_titles))
        and (not rule.stations or is_one_of(header.station_name, rule.stations))
        and (not rule.requested or is_one_of(header.requested_procedure_priority, rule.requested))
        and (not rule.words or match_in(said, rule.words) is not None)
    )


def own_result(header: FilmHeader, own_instances: Container[str] = ()) -> str | None:
    """Return the reason to decline what this node has written; None of any other object."""
    ours = (
        header.manufacturer.casefold() == OWN_MANUFACTURER
        or header.series_description.startswith(OWN_SERIES)
        or header.sop_instance_uid in own_instances
    )
    return OWN_RESULT if ours else None


def _no_radiograph(header: FilmHeader, rules: AdmissionRules) -> str | None:
    if header.modality and header.modality.upper() not in rules.object.modalities:
        return f"modality {shown(header.modality)} is no radiograph"
    if header.sop_class_uid not in rules.object.sop_classes:
        name = UID(header.sop_class_uid, validation_mode=config.IGNORE).name
        return f"SOP class {shown(name.removesuffix(' Storage'))} is no radiograph"
    return None if header.modality else "modality is missing"


def no_plain_film(header: FilmHeader, rules: AdmissionRules) -> str | None:
    """Return why an image is no single plain film that is meant to be looked at, None if it is."""
    if header.number_of_frames != 1:
        return f"{header.number_of_frames} frames, a film has one"
    if header.presentation_intent_type.upper() == "FOR PROCESSING":
        return "image is for processing, not for presentation"
    photometric = header.photometric_interpretation
    if photometric and not photometric.startswith("MONOCHROME"):
        return f"colour picture ({shown(photometric)})"
    for value in header.image_type:
        if value.upper() in rules.object.image_types_declined:
            return f"image type {shown(value)} is no plain radiograph"
    return None


def _no_chest(header: FilmHeader, rules: BodyPartRules) -> str | None:
    """Return why this is no chest: by Body Part Examined, else region codes, else descriptions."""
    body_part = header.body_part_examined
    if not says_nothing(body_part, rules.unspecific):
        accepted = folded(body_part) in {folded(each) for each in rules.accept}
        if accepted or says_chest(body_part, rules):
            return None
        return f"body part {shown(body_part)} is not chest"
    if header.anatomic_regions:
        known = {key_of(code) for code in header.anatomic_regions}
        if known & set(rules.regions):
            return None
        return f"anatomic region {shown(sorted(known)[0])} is not chest"
    for text in descriptions(header):
        says = says_chest(text, rules)
        if says is not None:
            return None if says else "descriptions name another part of the body than the chest"
    if rules.when_unspecific == "ask-pixels":
        return None
    return (
        "neither body part, anatomic region nor descriptions say chest, and "
        "admission.when_unspecific declines such films"
    )


def says_chest(text: str, rules: BodyPartRules) -> bool | None:
    """Whether the words of a text mean a chest alone (True), another part (False), or neither."""
    if match_in(without(text, rules.positioning), rules.other_words):
        return False
    return True if match_in(text, rules.words) else None


def _by_view(header: FilmHeader, rules: ViewRules) -> Admitted | Declined:
    """Decide by View Position, else view codes, else descriptions, else Patient Orientation."""
    position = header.view_position
    if not says_nothing(position, rules.unspecific):
        view = _frontal(position, rules)
        return Admitted(view) if view else _not_frontal(f"view position {shown(position)}")
    if header.view_codes:
        views = {
            name for name, codes in rules.codes.items() if keys_of(header.view_codes) & {*codes}
        }
        accepted = sorted(view for view in views if _is_accepted(view, rules))
        code = shown(min(keys_of(header.view_codes)))
        return Admitted(accepted[0]) if accepted else _not_frontal(f"view code {code}")
    return _by_descriptions(header, rules) or _by_orientation(header, rules)


def _frontal(position: str, rules: ViewRules) -> str | None:
    """Return the frontal view that a View Position means, None where it means none."""
    for view in rules.accept:
        if folded(position) == folded(view):
            return view
    return None if match_in(position, rules.other_words) else _named_view(position, rules)


def _named_view(text: str, rules: ViewRules) -> str | None:
    for view, words in rules.words.items():
        if _is_accepted(view, rules) and match_in(text, words):
            return view
    return None


def _by_descriptions(header: FilmHeader, rules: ViewRules) -> Admitted | Declined | None:
    """Decide by what is said of series and protocol; a study's description covers all its views."""
    for text in (
        header.series_description,
        header.protocol_name,
        header.procedure_step_description,
    ):
        other, view = match_in(text, rules.other_words), _named_view(text, rules)
        if other and not view:
            return _not_frontal(f"a description with {other!r}")
        if view and not other:
            return Admitted(view)
    return None


def _by_orientation(header: FilmHeader, rules: ViewRules) -> Admitted | Declined:
    along_rows = header.patient_orientation[0] if header.patient_orientation else ""
    if along_rows[:1] in ("A", "P"):
        return _not_frontal(f"patient orientation {shown('/'.join(header.patient_orientation))}")
    if rules.when_unknown == "admit":
        return Admitted("")
    return Declined("the film does not say that its view is frontal")


def _not_frontal(what: str) -> Declined:
    return Declined(f"{what} is not frontal")


def _is_accepted(view: str, rules: ViewRules) -> bool:
    """Whether a view may be analysed: "FRONTAL" is any of those that are accepted."""
    return view == "FRONTAL" or view in rules.accept
