"""The measurement groups of severity: both extents, the airspace level, the parts of the lungs."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.chest import (
    PARTS,
    ZONES,
    Airspace,
    Score,
    is_opaque,
    opacities_by_score,
)
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import Code
from dicom_node.results.values import EIGHT, FOUR, THREE, Group, Number, Site, percentage
from dicom_node.results.wording import explanation_of_grade

_SHORT = 52
"""Characters of a tracking identifier: ", film 12" may follow."""

_SIDES = {
    "right": ("24028007", "Right"), "left": ("7771000", "Left"), "both": ("51440002", "Bilateral"),
}  # fmt: skip
SIDES = {
    side: Code.model_construct(value=value, scheme="SCT", meaning=meaning)
    for side, (value, meaning) in _SIDES.items()
}
"""Lateralities, by side (PS3.16 CID 244, SNOMED CT)."""

_HEIGHTS = {
    "upper": ("281392002", "Upper zone of lung"),
    "middle": ("281393007", "Middle zone of lung"),
    "lower": ("281394001", "Lower zone of lung"),
}


BOTH_LUNGS = Site(
    Code.model_construct(value="39607008", scheme="SCT", meaning="Lung"),
    SIDES["both"],
)


def severity_groups(subject: Subject) -> Iterator[Group]:
    """Yield the groups of what was graded on one film; none where nothing was.

    Opacity is a finding only where the number says that there are opacities.
    """
    findings = subject.film.findings
    for name, score in findings.scores.items():
        yield _score(subject, name, score)
        yield from _lungs(subject, name, score)
    if findings.airspace is not None:
        yield _airspace(subject, findings.airspace)
        yield from _parts(subject, findings.airspace)


def _score(subject: Subject, name: str, score: Score) -> Group:
    template, words = subject.template, subject.template.severity
    text = words.scores[name]
    parts = {"value": (text.concept, score.value)}
    if score.low is not None and score.high is not None:
        parts |= {"low": (words.low, score.low), "high": (words.high, score.high)}
    numbers = tuple(
        Number(key, concept, value, template.score(value), EIGHT)
        for key, (concept, value) in parts.items()
    )
    found = bool(opacities_by_score(score))
    return Group(
        key=name,
        tracking=f"{text.wording}{subject.where}",
        finding=words.finding if found else None,
        place=subject.lungs,
        numbers=numbers,
        site=BOTH_LUNGS if found else None,
        texts=_texts(subject, name, text.comment),
        network=_network(subject, name),
    )


def _lungs(subject: Subject, name: str, score: Score) -> Iterator[Group]:
    """Yield one group with each lung's part of a score, where the network tells it."""
    template, words = subject.template, subject.template.severity
    text = words.scores[name]
    parts = (("right", text.right, score.right), ("left", text.left, score.left))
    numbers = tuple(
        Number(side, concept, value, template.score(value), FOUR)
        for side, concept, value in parts
        if value is not None
    )
    called = words.lung.wording.format(score=text.wording, side="").strip(", ")
    if numbers:
        yield Group(
            key=f"{name} lungs",
            tracking=f"{called[:_SHORT]}{subject.where}",
            finding=None,
            place=subject.lungs,
            numbers=numbers,
            texts=((template.texts.comment, words.lung.comment),),
            network=_network(subject, name),
        )


def _texts(subject: Subject, target: str, comment: str) -> tuple[tuple[Code, str], ...]:
    """Return what the numbers mean, and what is known of where the network looked."""
    texts, network = subject.template.texts, _network(subject, target)
    explained = explanation_of_grade(subject.film, network, target, subject.template)
    said = ((texts.comment, comment), (texts.explanation, explained))
    return said if explained else said[:1]


def _network(subject: Subject, target: str) -> str:
    return subject.context.grader(subject.film, target).id


def _airspace(subject: Subject, airspace: Airspace) -> Group:
    template, words = subject.template, subject.template.severity
    certainty = Number(
        "probability",
        words.airspace.certainty,
        percentage(airspace.probability),
        template.percent(airspace.probability),
        also=template.measurements.certainty,
    )
    found = airspace.level > 0
    return Group(
        key="airspace",
        tracking=f"{words.airspace.wording}{subject.where}",
        finding=words.finding if found else None,
        place=subject.lungs,
        numbers=(certainty,),
        evaluations=((words.airspace.concept, words.levels[airspace.level]),),
        site=BOTH_LUNGS if found else None,
        texts=_texts(subject, "airspace", words.airspace.comment),
        network=_network(subject, "airspace"),
    )


def _parts(subject: Subject, airspace: Airspace) -> Iterator[Group]:
    """Yield a group at each zone that has opacities, then those of each lung that have none."""
    template, words, places = subject.template, subject.template.severity.zone, subject.places
    network = _network(subject, "airspace")
    numbers = {
        zone: Number(zone, words.concepts[zone], value, template.score(value), THREE)
        for zone in ZONES
        if (value := airspace.parts.get(zone)) is not None
    }
    found = [zone for zone in numbers if is_opaque(airspace.parts[zone])]
    for zone in found:
        yield Group(
            key=f"zone {zone}",
            tracking=f"{words.named(zone)}{subject.where}",
            finding=template.severity.finding,
            place=places.parts.get(zone, places.seen),
            numbers=(numbers[zone],),
            site=site_of(zone),
            network=network,
        )
    for side in ("right", "left"):
        rest = [z for z in numbers if z not in found and z.startswith(side)]
        if rest:
            yield Group(
                key=f"{PARTS} {side}",
                tracking=f"{words.rest.format(side=getattr(words, side))[:_SHORT]}{subject.where}",
                finding=None,
                place=places.lungs.get(side, places.seen),
                numbers=tuple(numbers[zone] for zone in rest),
                network=network,
            )


def side_of(side: str) -> Site:
    """Return the coded place of one lung, ``right`` or ``left``."""
    return Site(BOTH_LUNGS.place, SIDES[side])


def site_of(zone: str) -> Site:
    """Return the coded place of a zone, e.g. ``right_upper`` (PS3.16 CID 6171, SNOMED CT)."""
    side, height = zone.split("_")
    place, meaning = _HEIGHTS[height]
    return Site(Code.model_construct(value=place, scheme="SCT", meaning=meaning), SIDES[side])
