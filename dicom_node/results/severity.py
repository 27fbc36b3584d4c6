"""The measurement groups of severity: both extents, the airspace level, the six zones."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import ZONES, Airspace, Score, is_opaque, opacities_by_score
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon
from dicom_node.results.template_parts import Code
from dicom_node.results.values import Group, Number, Site, Unit, percentage
from dicom_node.results.wording import explanation_of_grade

_SHORT = 52
"""Characters of a tracking identifier: ", film 12" may follow."""

_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}
_HEIGHTS = {
    "upper": ("281392002", "Upper zone of lung"),
    "middle": ("281393007", "Middle zone of lung"),
    "lower": ("281394001", "Lower zone of lung"),
}


BOTH_LUNGS = Site(
    Code.model_construct(value="39607008", scheme="SCT", meaning="Lung"),
    Code.model_construct(value="51440002", scheme="SCT", meaning="Bilateral"),
)


def severity_groups(
    film: AnalysedFilm, places: Places, context: Context, where: str
) -> Iterator[Group]:
    """Yield the groups of what was graded on one film; none where nothing was.

    Opacity is a finding only where the number says that there are opacities.
    """
    for name, score in film.findings.scores.items():
        yield _score(film, places, context, (name, score, where))
        yield from _lungs(film, places, context, (name, score, where))
    if film.findings.airspace is not None:
        yield _airspace(film, places, context, (film.findings.airspace, where))
        yield from _zones(film, places, context, (film.findings.airspace, where))


def _score(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Score, str]
) -> Group:
    template, words, (name, score, where) = context.template, context.template.severity, said
    text = words.scores[name]
    parts = {"value": (text.concept, score.value)}
    if score.low is not None and score.high is not None:
        parts |= {"low": (words.low, score.low), "high": (words.high, score.high)}
    numbers = tuple(
        Number(key, concept, value, template.score(value), Unit.EIGHT)
        for key, (concept, value) in parts.items()
    )
    found = bool(opacities_by_score(score))
    return Group(
        key=name,
        tracking=f"{text.wording}{where}",
        finding=words.finding if found else None,
        place=_both(places),
        numbers=numbers,
        site=BOTH_LUNGS if found else None,
        texts=_texts(film, context, name, text.comment),
        network=context.grader(film, name).id,
    )


def _lungs(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Score, str]
) -> Iterator[Group]:
    """Yield one group with each lung's part of a score, where the network tells it."""
    template, words, (name, score, where) = context.template, context.template.severity, said
    text = words.scores[name]
    parts = (("right", text.right, score.right), ("left", text.left, score.left))
    numbers = tuple(
        Number(side, concept, value, template.score(value), Unit.FOUR)
        for side, concept, value in parts
        if value is not None
    )
    called = words.lung.wording.format(score=text.wording, side="").strip(", ")
    if numbers:
        yield Group(
            key=f"{name} lungs",
            tracking=f"{called[:_SHORT]}{where}",
            finding=None,
            place=_both(places),
            numbers=numbers,
            texts=((template.texts.comment, words.lung.comment),),
            network=context.grader(film, name).id,
        )


def _both(places: Places) -> Polygon:
    lungs = places.both_lungs
    return places.seen if lungs is None else lungs


def _texts(
    film: AnalysedFilm, context: Context, target: str, comment: str
) -> tuple[tuple[Code, str], ...]:
    """Return what the numbers mean, and what is known of where the network looked."""
    texts, network = context.template.texts, context.grader(film, target).id
    explained = explanation_of_grade(film, network, target, context.template)
    said = ((texts.comment, comment), (texts.explanation, explained))
    return said if explained else said[:1]


def _airspace(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[Airspace, str]
) -> Group:
    template, words, (airspace, where) = context.template, context.template.severity, said
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
        tracking=f"{words.airspace.wording}{where}",
        finding=words.finding if found else None,
        place=_both(places),
        numbers=(certainty,),
        evaluations=((words.airspace.concept, words.levels[airspace.level]),),
        site=BOTH_LUNGS if found else None,
        texts=_texts(film, context, "airspace", words.airspace.comment),
        network=context.grader(film, "airspace").id,
    )


def _zones(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[Airspace, str]
) -> Iterator[Group]:
    """Yield a group at each zone that has opacities, then those of each lung that have none."""
    template, words, (airspace, where) = context.template, context.template.severity.zone, said
    network = context.grader(film, "airspace").id
    numbers = {
        zone: Number(zone, words.concepts[zone], value, template.score(value), Unit.THREE)
        for zone in ZONES
        if (value := airspace.zones.get(zone)) is not None
    }
    found = [zone for zone in numbers if is_opaque(airspace.zones[zone])]
    for zone in found:
        yield Group(
            key=f"zone {zone}",
            tracking=f"{words.named(zone)}{where}",
            finding=template.severity.finding,
            place=places.zones.get(zone, places.seen),
            numbers=(numbers[zone],),
            site=site_of(zone),
            network=network,
        )
    for side in _SIDES:
        rest = [z for z in numbers if z not in found and z.startswith(side)]
        if rest:
            yield Group(
                key=f"zones {side}",
                tracking=f"{words.rest.format(side=getattr(words, side))[:_SHORT]}{where}",
                finding=None,
                place=places.lungs.get(side, places.seen),
                numbers=tuple(numbers[zone] for zone in rest),
                network=network,
            )


def side_of(side: str) -> Site:
    """Return the coded place of one lung, ``right`` or ``left``."""
    laterality, said = _SIDES[side]
    return Site(
        BOTH_LUNGS.place, Code.model_construct(value=laterality, scheme="SCT", meaning=said)
    )


def site_of(zone: str) -> Site:
    """Return the coded place of a zone, e.g. ``right_upper`` (PS3.16 CID 6171, SNOMED CT)."""
    side, height = zone.split("_")
    (place, meaning), (laterality, said) = _HEIGHTS[height], _SIDES[side]
    return Site(
        Code.model_construct(value=place, scheme="SCT", meaning=meaning),
        Code.model_construct(value=laterality, scheme="SCT", meaning=said),
    )
