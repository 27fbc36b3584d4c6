"""The measurement groups of a report as plain values: what each says, and about which place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dicom_node.findings import Detection, FilmFindings
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.regions import Places, Polygon, begun_at, simplified
from dicom_node.results.severity import severity_groups
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import Group, Number, described, percentage
from dicom_node.results.wording import (
    course,
    headline,
    not_analysed,
    ordered,
    outcome_code,
    points,
    remarks,
    wording_of,
)


def groups_of(film: AnalysedFilm, places: Places, context: Context, where: str) -> Iterator[Group]:
    """Yield the groups of one film: the impression, the classes, what was graded.

    ``where`` follows every tracking identifier: ", film 2", or "" where there is only one film.
    Groups about the same place begin their line at different corners: viewers write the words of a
    group where its line begins.
    """
    yield from _apart(list(_groups(film, places, context, where)))


def _apart(groups: Sequence[Group]) -> Iterator[Group]:
    same: dict[bytes, list[int]] = {}
    for index, group in enumerate(groups):
        if group.place is not None:
            same.setdefault(group.place.tobytes(), []).append(index)
    for index, group in enumerate(groups):
        if group.place is None:
            yield group
            continue
        shared = same[group.place.tobytes()]
        part = shared.index(index) / len(shared)
        yield replace(group, place=begun_at(group.place, part))


def _groups(film: AnalysedFilm, places: Places, context: Context, where: str) -> Iterator[Group]:
    if film.findings.finding is None:
        yield _mention(film, places, context, where)
        return
    yield _impression(film, places, context, where)
    for name in ordered(film.findings.finding, context.template):
        yield _class(film, places, context, (name, where))
    for network, detection in film.findings.detections.items():
        if network != context.detector(film).id:
            yield _second(film, places, context, (network, detection, where))
    yield from severity_groups(film, places, context, where)


def _mention(film: AnalysedFilm, places: Places, context: Context, where: str) -> Group:
    template, words = context.template, context.template.not_analysed
    return Group(
        key="not analysed",
        tracking=f"{words.tracking}{where}",
        finding=words.finding,
        place=places.seen if places.seen.size else None,
        evaluations=(
            (words.outcome, outcome_code(film.findings, template)),
            (template.status.concept, template.status.none_succeeded),
        ),
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
    # No class is named, so no certainty either: each class has its own group.
    certainty = (
        () if detection.abstained else (_certainty(detection, detection.finding_class, context),)
    )
    numbers = (*certainty, *_evidence(film, context))
    return Group(
        key="impression",
        tracking=f"{template.impression.tracking}{where}",
        finding=finding,
        place=_lungs(places, found=True),
        numbers=numbers,
        evaluations=tuple(_evaluations(film.findings, template)),
        texts=(
            (texts.headline, wording.headline),
            (texts.basis, wording.basis),
            (texts.explanation, wording.explanation),
            *((template.course.concept, _course(context)) for _ in context.earlier[:1]),
            (texts.comment, template.research_sentence),
            (texts.comment, wording.calibration),
            *((texts.comment, said) for said in remarks(film.findings, template)),
        ),
        parameters=(
            *_parameters(film, context, "impression", numbers),
            f"quality={' '.join(film.findings.quality)}",
            f"notes={' '.join(film.findings.notes)}",
            *(f"also={_ran(name, film)}" for name in film.findings.suite),
        ),
    )


def _ran(network: str, film: AnalysedFilm) -> str:
    version = film.findings.suite[network]
    return f"{network} {version.version} {version.weights}"


def _course(context: Context) -> str:
    return context.template.course.sentence.format(films="; ".join(course(context)))


def _evaluations(findings: FilmFindings, template: Template) -> Iterator[tuple[Code, Code]]:
    detection, status = findings.finding, template.status
    assert detection is not None
    quiet = detection.abstained or detection.finding_class == "normal"
    yield status.concept, status.without_findings if quiet else status.with_findings
    for fault in findings.quality:
        yield template.quality.concept, template.quality.faults[fault]


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
        place=_salient(places) if found else _lungs(places),
        numbers=numbers,
        texts=((context.template.texts.comment, words.comment),),
        parameters=_parameters(film, context, name, numbers),
    )


def _second(
    film: AnalysedFilm, places: Places, context: Context, said: tuple[str, Detection, str]
) -> Group:
    """Return the group of a further detection network: its class, and all its probabilities."""
    network, detection, where = said
    template, card = context.template, context.card(film, network)
    words, named = template.second, template.classes[detection.finding_class]
    numbers = (_certainty(detection, detection.finding_class, context),)
    told = " ".join(f"{name}:{value!r}" for name, value in detection.probabilities.items())
    return Group(
        key=f"detection {network}",
        tracking=f"{words.wording.format(network=card.title)[:52]}{where}",
        # As in the groups of the classes: the certainty beside it is that of this class.
        finding=named.finding,
        place=_lungs(places),
        numbers=numbers,
        texts=(
            (
                template.texts.headline,
                words.sentence.format(headline=headline(detection, template)),
            ),
            (template.texts.comment, words.comment),
        ),
        parameters=(
            *_described(card, f"detection:{network}", numbers, film),
            f"threshold={detection.threshold!r}",
            f"calibrated={'yes' if detection.calibrated else 'no'}",
            f"probabilities={told}",
        ),
    )


def _lungs(places: Places, *, found: bool = False) -> Polygon:
    """Return both lungs; without them what the network saw, or what stood out."""
    lungs = places.both_lungs
    if lungs is not None:
        return lungs
    return _salient(places) if found else places.seen


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
    detection = film.findings.finding
    assert detection is not None
    return (
        *_described(context.detector(film), key, numbers, film),
        f"threshold={detection.threshold!r}",
        f"calibrated={'yes' if detection.calibrated else 'no'}",
    )


def _described(
    card: NetworkCard, output: str, numbers: tuple[Number, ...], film: AnalysedFilm
) -> tuple[str, ...]:
    return described(card, output, numbers, film.findings.checks.get(card.id))
