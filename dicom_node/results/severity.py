"""The measurement groups of severity: both extents, the airspace level, the six zones."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import Airspace, Score
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places
from dicom_node.results.templates import Code
from dicom_node.results.values import Group, Number, Site, Unit, percentage

SCORE, AIRSPACE, ZONE = "score", "airspace", "zone"
ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")
"""The zones in the order in which they are reported."""

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
        place=places.seen,
        numbers=numbers,
        texts=((context.template.texts.comment, text.comment),),
        parameters=_parameters(film, context, (name, f"{SCORE}:{name}"), numbers),
    )


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
        place=places.seen,
        numbers=numbers,
        evaluations=((words.airspace.concept, words.levels[airspace.level]),),
        texts=((template.texts.comment, words.airspace.comment),),
        parameters=_parameters(film, context, ("airspace", AIRSPACE), numbers),
    )


def _zone(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Airspace, str]
) -> Group:
    words, (zone, airspace, where) = context.template.severity, said
    value = airspace.zones[zone]
    numbers = (Number("value", words.zone.concept, value, words.shown(value), Unit.THREE),)
    return Group(
        key=f"zone {zone}",
        tracking=f"{words.zone.wording.format(zone=zone.replace('_', ' ').capitalize())}{where}",
        finding=words.finding,
        place=places.seen,
        numbers=numbers,
        site=site_of(zone),
        parameters=_parameters(film, context, ("airspace", f"{ZONE}:{zone}"), numbers),
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
    return (
        f"network={card.id}",
        f"weights={card.weights}",
        f"output={output}",
        f"numbers={' '.join(number.key for number in numbers)}",
    )
