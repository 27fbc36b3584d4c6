"""The measurement groups of a report as plain values: what each says, and about which place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dicom_node.chest import Detection
from dicom_node.findings import Evidence
from dicom_node.results.beside import groups_beside
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.mapped import map_groups
from dicom_node.results.observed import observed_groups
from dicom_node.results.observed_film import groups_of_observed_film
from dicom_node.results.observed_words import unanswered
from dicom_node.results.overall import evaluations_of_film, parameters_of
from dicom_node.results.regions import Places, begun_at, simplified
from dicom_node.results.severity import BOTH_LUNGS, severity_groups
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template
from dicom_node.results.values import Group, Number, percentage
from dicom_node.results.wording import (
    course,
    headline,
    knows,
    not_analysed,
    ordered,
    outcome_code,
    probability,
    remarks,
    view,
    wording_of,
)

_SHORT = 55
"""Characters of a tracking identifier: ", film 2" may follow."""


def groups_of(film: AnalysedFilm, places: Places, context: Context, where: str) -> Iterator[Group]:
    """Yield the groups of one film: impression, opacity, appearance, where it looked, severity.

    Behind them what networks observed that declare themselves.

    ``where`` follows every tracking identifier: ", film 2", or "" where there is only one film.
    Groups about the same place begin their line at different corners: viewers write the words of a
    group where its line begins.
    """
    yield from _apart(list(_groups(Subject(film, places, context, where))))


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


def _groups(subject: Subject) -> Iterator[Group]:
    findings = subject.film.findings
    if not subject.film.has_answers:
        yield _mention(subject)
        return
    if findings.finding is None:
        yield from groups_of_observed_film(subject)
        return
    yield _impression(subject, findings.finding)
    yield from groups_beside(subject)
    yield from map_groups(subject)
    if findings.evidence is not None:
        yield _looked(subject, findings.finding)
    for network, detection in findings.detections.items():
        if network != _network(subject):
            yield _second(subject, network, detection)
    yield from severity_groups(subject)
    yield from observed_groups(subject)
    yield _parameters(subject, findings.finding)


def _network(subject: Subject) -> str:
    """Return which network named the finding."""
    return subject.context.detector(subject.film).id


def _mention(subject: Subject) -> Group:
    template, words = subject.template, subject.template.not_analysed
    findings, places = subject.film.findings, subject.places
    return Group(
        key="not analysed",
        tracking=f"{words.tracking}{subject.where}",
        finding=None,
        place=places.seen if places.seen.size else None,
        evaluations=(
            # What reads a report back takes the first answer for the outcome.
            (words.outcome, outcome_code(findings, template)),
            (template.status.concept, template.status.none_succeeded),
            (template.impression.named, words.finding),
        ),
        texts=(
            (words.reason, not_analysed(findings)),
            (template.texts.comment, template.research_sentence),
        ),
    )


def _impression(subject: Subject, detection: Detection) -> Group:
    film, template = subject.film, subject.template
    named = template.classes[detection.finding_class]
    return Group(
        key="impression",
        tracking=f"{_label(film, template)[:_SHORT]}{subject.where}",
        finding=None if detection.abstained else named.finding,
        place=subject.lungs,
        numbers=_probabilities(detection, template),
        evaluations=tuple(_evaluations(film, detection, subject.context)),
        site=None if detection.abstained else BOTH_LUNGS,
        texts=tuple(_sentences(subject, detection)),
        network=_network(subject),
        others=_others(detection),
    )


def _others(detection: Detection) -> int:
    """Return how many classes are not the finding."""
    return len(detection.probabilities) - (0 if detection.abstained else 1)


def _label(film: AnalysedFilm, template: Template) -> str:
    """Return what viewers list and draw for a film: its class, and whether that is in doubt."""
    detection, impression = film.findings.finding, template.impression
    assert detection is not None
    named = template.classes[detection.finding_class].wording
    words = impression.tracking_in_doubt if film.findings.contradictions else impression.tracking
    finding = impression.abstained_finding.meaning if detection.abstained else named
    return words.format(finding=finding)


def _sentences(subject: Subject, detection: Detection) -> Iterator[tuple[Code, str]]:
    """Yield what is said of a film as a whole, the conclusion first."""
    film, places, context = subject.film, subject.places, subject.context
    template, texts = subject.template, subject.template.texts
    wording = wording_of(film, context, has_contour=bool(places.salient))
    yield texts.headline, wording.headline
    yield texts.comment, knows(film, context)
    if not detection.abstained:
        yield texts.comment, template.classes[detection.finding_class].comment
    yield template.view.concept, view(film, template)
    if context.earlier:
        yield template.course.concept, _course(context)
    for said in (*remarks(film.findings, template), *unanswered(film.findings, context)):
        yield texts.comment, said
    if film.findings.evidence is None:
        yield texts.explanation, wording.explanation
    yield texts.comment, template.research_sentence
    yield texts.basis, wording.basis
    yield texts.comment, wording.calibration


def _probabilities(detection: Detection, template: Template) -> tuple[Number, ...]:
    """Return the certainty of the named class, then the probability of every other one."""
    named = () if detection.abstained else (detection.finding_class,)
    others = (name for name in ordered(detection, template) if name not in named)
    return tuple(
        _probability(detection, name, template, is_named=name in named)
        for name in (*named, *others)
    )


def _probability(detection: Detection, name: str, template: Template, *, is_named: bool) -> Number:
    words, exact = template.classes[name], percentage(detection.probabilities[name])
    shown = probability(detection, name, template)
    if not detection.calibrated:
        return Number(name, words.score, exact, shown)
    if not is_named:
        return Number(name, words.probability, exact, shown)
    return Number(name, words.certainty, exact, shown, also=template.measurements.certainty)


def _looked(subject: Subject, detection: Detection) -> Group:
    """Return the group that says where the network of the finding looked."""
    film, places, template = subject.film, subject.places, subject.template
    words, named = template.looked, template.classes[detection.finding_class]
    called = words.found.format(finding=named.wording) if places.salient else words.tracking
    wording = wording_of(film, subject.context, has_contour=bool(places.salient))
    return Group(
        key="looked",
        tracking=f"{called[:_SHORT]}{subject.where}",
        finding=None,
        place=simplified(places.salient[0]) if places.salient else subject.lungs,
        numbers=tuple(_evidence(film, template)),
        texts=((template.texts.explanation, wording.explanation),),
        network=_network(subject),
    )


def _course(context: Context) -> str:
    return context.template.course.sentence.format(films="; ".join(course(context)))


def _evaluations(
    film: AnalysedFilm, detection: Detection, context: Context
) -> Iterator[tuple[Code, Code]]:
    impression = context.template.impression
    if detection.abstained:
        yield impression.named, impression.abstained_finding
    yield from evaluations_of_film(film, context)


def _second(subject: Subject, network: str, detection: Detection) -> Group:
    """Return the group of a further detection network: its class, and all its probabilities."""
    template, card = subject.template, subject.context.card(subject.film, network)
    words, named = template.second, template.classes[detection.finding_class]
    sentence = words.sentence.format(headline=headline(detection, template))
    return Group(
        key=f"detection {network}",
        tracking=f"{words.wording.format(network=card.title)[:_SHORT]}{subject.where}",
        finding=None if detection.abstained else named.finding,
        place=subject.lungs,
        numbers=_probabilities(detection, template),
        site=None if detection.abstained else BOTH_LUNGS,
        texts=((template.texts.headline, sentence), (template.texts.comment, words.comment)),
        network=network,
        others=_others(detection),
    )


def _evidence(film: AnalysedFilm, template: Template) -> Iterator[Number]:
    evidence, names = film.findings.evidence or Evidence(), template.measurements
    if (change := evidence.change_when_hidden) is not None:
        shown = template.points(change)
        yield Number("change_when_hidden", names.change_when_hidden, percentage(change), shown)
    parts = (
        ("saliency_in_lungs", names.saliency_in_lungs, evidence.saliency_in_lungs),
        ("chance", names.chance, evidence.chance),
    )
    for key, concept, part in parts:
        if part is not None:
            yield Number(key, concept, percentage(part), template.percent(part))


def _parameters(subject: Subject, detection: Detection) -> Group:
    """Return what the algorithms ran with, and the findings as `FilmFindings.to_json_text`."""
    findings, words = subject.film.findings, subject.template.parameters
    return Group(
        key="parameters",
        tracking=f"{words.tracking}{subject.where}",
        finding=None,
        place=subject.lungs,
        # OHIF draws no group without a number.
        numbers=(
            Number(
                "threshold",
                words.threshold,
                percentage(detection.threshold),
                subject.template.percent(detection.threshold),
            ),
        ),
        network=_network(subject),
        parameters=parameters_of(
            findings,
            f"threshold={detection.threshold!r}",
            f"calibrated={'yes' if detection.calibrated else 'no'}",
        ),
    )
