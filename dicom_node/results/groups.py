"""The measurement groups of a report as plain values: what each says, and about which place."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.findings import Detection
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon, simplified
from dicom_node.results.severity import severity_groups
from dicom_node.results.values import Group, Number, percentage
from dicom_node.results.wording import (
    not_analysed,
    ordered,
    outcome_code,
    points,
    wording_of,
)


def groups_of(film: AnalysedFilm, places: Places, context: Context, where: str) -> Iterator[Group]:
    """Yield the groups of one film: the impression, the classes, what was graded.

    ``where`` follows every tracking identifier: ", film 2", or "" where there is only one film.
    """
    if film.findings.finding is None:
        yield _mention(film, places, context, where)
        return
    yield _impression(film, places, context, where)
    for name in ordered(film.findings.finding, context.template):
        yield _class(film, places, context, (name, where))
    yield from severity_groups(film, places, context, where)


def _mention(film: AnalysedFilm, places: Places, context: Context, where: str) -> Group:
    template, words = context.template, context.template.not_analysed
    return Group(
        key="not analysed",
        tracking=f"{words.tracking}{where}",
        finding=words.finding,
        place=places.seen,
        evaluations=((words.outcome, outcome_code(film.findings, template)),),
        texts=(
            (words.reason, not_analysed(film.findings)),
            (template.texts.comment, template.research_sentence),
        ),
    )


def _impression(film: AnalysedFilm, places: Places, context: Context, where: str) -> Group:
    detection, template = film.findings.finding, context.template
    assert detection is not None
    named, texts = template.classes[detection.finding_class], template.texts
    wording = wording_of(film, context, has_contour=bool(places.salient))
    finding = template.impression.abstained_finding if detection.abstained else named.finding
    numbers = (
        _certainty(detection, detection.finding_class, context),
        *_evidence(film, context),
    )
    return Group(
        key="impression",
        tracking=f"{template.impression.tracking}{where}",
        finding=finding,
        place=_salient(places),
        numbers=numbers,
        texts=(
            (texts.headline, wording.headline),
            (texts.basis, wording.basis),
            (texts.explanation, wording.explanation),
            (texts.comment, template.research_sentence),
            (texts.comment, wording.calibration),
        ),
        parameters=_parameters(film, context, "impression", numbers),
    )


def _class(film: AnalysedFilm, places: Places, context: Context, named: tuple[str, str]) -> Group:
    detection, (name, where) = film.findings.finding, named
    assert detection is not None
    words = context.template.classes[name]
    found = name == detection.finding_class
    numbers = (_certainty(detection, name, context),)
    return Group(
        key=name,
        tracking=f"{words.wording}{where}",
        finding=words.finding,
        place=_salient(places) if found else places.seen,
        numbers=numbers,
        texts=((context.template.texts.comment, words.comment),),
        parameters=_parameters(film, context, name, numbers),
    )


def _salient(places: Places) -> Polygon:
    return simplified(places.salient[0]) if places.salient else places.seen


def _certainty(detection: Detection, name: str, context: Context) -> Number:
    concepts, template = context.template.measurements, context.template
    probability = detection.probabilities[name]
    concept = concepts.certainty if detection.calibrated else concepts.score
    return Number("probability", concept, percentage(probability), template.percent(probability))


def _evidence(film: AnalysedFilm, context: Context) -> Iterator[Number]:
    evidence, template = film.findings.evidence, context.template
    if evidence is None:
        return
    names = template.measurements
    if (change := evidence.change_when_hidden) is not None:
        shown = points(change, template)
        yield Number("change_when_hidden", names.change_when_hidden, percentage(change), shown)
    if (inside := evidence.saliency_in_lungs) is not None:
        shown = template.percent(inside)
        yield Number("saliency_in_lungs", names.saliency_in_lungs, percentage(inside), shown)


def _parameters(
    film: AnalysedFilm, context: Context, key: str, numbers: tuple[Number, ...]
) -> tuple[str, ...]:
    detection, card = film.findings.finding, context.detector(film)
    assert detection is not None
    return (
        f"network={card.id}",
        f"weights={card.weights}",
        f"output={key}",
        f"numbers={' '.join(number.key for number in numbers)}",
        f"threshold={detection.threshold!r}",
        f"calibrated={'yes' if detection.calibrated else 'no'}",
    )
