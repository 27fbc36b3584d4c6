"""The measurement groups of severity: both extents, the airspace level, the six zones."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import Airspace, Score
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon
from dicom_node.results.template_parts import Code
from dicom_node.results.values import Group, Number, Site, Unit, described, percentage
from dicom_node.results.wording import contradiction, explanation_of_grade

SCORE, LUNG, AIRSPACE, ZONE = "score", "lung", "airspace", "zone"
ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")
"""The zones in the order in which they are reported."""

_SHORT = 52
"""Characters of a tracking identifier: ", film 12" may follow."""

_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}
_HEIGHTS = {
    "upper": ("281392002", "Upper zone of lung"),
    "middle": ("281393007", "Middle zone of lung"),
    "lower": ("281394001", "Lower zone of lung"),
}


def severity_groups(
    film: AnalysedFilm, places: Places, context: Context, where: str
) -> Iterator[Group]:
    """Yield the groups of what was graded on one film; none where nothing was."""
    for name, score in film.findings.scores.items():
        yield _score(film, places, context, (name, score, where))
        yield from _lungs(film, places, context, (name, score, where))
    if film.findings.airspace is not None:
        yield _airspace(film, places, context, (film.findings.airspace, where))
        for zone in ZONES:
            if zone in film.findings.airspace.zones:
                yield _zone(film, places, context, (zone, film.findings.airspace, where))


def _score(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Score, str]
) -> Group:
    words, (name, score, where) = context.template.severity, said
    text = words.scores[name]
    parts = {"value": (text.concept, score.value)}
    if score.low is not None and score.high is not None:
        parts |= {"low": (words.low, score.low), "high": (words.high, score.high)}
    numbers = tuple(
        Number(key, concept, value, words.shown(value), Unit.EIGHT)
        for key, (concept, value) in parts.items()
    )
    return Group(
        key=name,
        tracking=f"{text.wording}{where}",
        finding=words.finding,
        place=_both(places),
        numbers=numbers,
        texts=_texts(film, context, name, text.comment),
        parameters=_parameters(film, context, (name, f"{SCORE}:{name}"), numbers),
    )


def _lungs(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Score, str]
) -> Iterator[Group]:
    """Yield each lung's part of a score, where the network tells it."""
    words, (name, score, where) = context.template.severity, said
    for side, value in (("right", score.right), ("left", score.left)):
        if value is None:
            continue
        number = Number("value", words.scores[name].concept, value, words.shown(value), Unit.FOUR)
        wording = words.lung.wording.format(
            score=words.scores[name].wording, side=getattr(words.lung, side)
        )
        yield Group(
            key=f"{name} {side}",
            tracking=f"{wording[:_SHORT]}{where}",
            finding=words.finding,
            place=places.lungs.get(side, places.seen),
            numbers=(number,),
            site=lung_site(side),
            texts=((context.template.texts.comment, words.lung.comment),),
            parameters=_parameters(film, context, (name, f"{LUNG}:{name}:{side}"), (number,)),
        )


def _both(places: Places) -> Polygon:
    lungs = places.both_lungs
    return places.seen if lungs is None else lungs


def _texts(
    film: AnalysedFilm, context: Context, target: str, comment: str
) -> tuple[tuple[Code, str], ...]:
    """Return what the numbers mean, and what is known of where the network looked."""
    texts = context.template.texts
    evidence = film.findings.checks.get(context.grader(film, target).id)
    explained = explanation_of_grade(evidence, target, context.template)
    said = ((texts.comment, comment), (texts.explanation, explained))
    return said if explained else said[:1]


def _airspace(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[Airspace, str]
) -> Group:
    template, words, (airspace, where) = context.template, context.template.severity, said
    shown = template.percent(airspace.probability)
    certainty = template.measurements.certainty
    numbers = (Number("probability", certainty, percentage(airspace.probability), shown),)
    return Group(
        key="airspace",
        tracking=f"{words.airspace.wording}{where}",
        finding=words.finding,
        place=_both(places),
        numbers=numbers,
        evaluations=((words.airspace.concept, words.levels[airspace.level]),),
        texts=_texts(film, context, "airspace", _comment(airspace, context)),
        # A site may give the levels codes of its own: this is what reads them back.
        parameters=(
            *_parameters(film, context, ("airspace", AIRSPACE), numbers),
            f"level={airspace.level}",
        ),
    )


def _comment(airspace: Airspace, context: Context) -> str:
    comment = context.template.severity.airspace.comment
    return f"{comment} {contradiction(airspace, context.template)}".rstrip()


def _zone(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Airspace, str]
) -> Group:
    words, (zone, airspace, where) = context.template.severity, said
    value = airspace.zones[zone]
    numbers = (Number("value", words.zone.concept, value, words.shown(value), Unit.THREE),)
    return Group(
        key=f"zone {zone}",
        tracking=f"{words.zone.named(zone)}{where}",
        finding=words.finding,
        place=places.zones.get(zone, places.seen),
        numbers=numbers,
        site=site_of(zone),
        parameters=_parameters(film, context, ("airspace", f"{ZONE}:{zone}"), numbers),
    )


def lung_site(side: str) -> Site:
    """Return the coded place of a lung: ``right`` or ``left``."""
    laterality, said = _SIDES[side]
    return Site(
        Code.model_construct(value="39607008", scheme="SCT", meaning="Lung"),
        Code.model_construct(value=laterality, scheme="SCT", meaning=said),
    )


def site_of(zone: str) -> Site:
    """Return the coded place of a zone, e.g. ``right_upper`` (PS3.16 CID 6171, SNOMED CT)."""
    side, height = zone.split("_")
    (place, meaning), (laterality, said) = _HEIGHTS[height], _SIDES[side]
    return Site(
        Code.model_construct(value=place, scheme="SCT", meaning=meaning),
        Code.model_construct(value=laterality, scheme="SCT", meaning=said),
    )


def _parameters(
    film: AnalysedFilm, context: Context, of: tuple[str, str], numbers: tuple[Number, ...]
) -> tuple[str, ...]:
    target, output = of
    card = context.grader(film, target)
    return described(card, output, numbers, film.findings.checks.get(card.id))
