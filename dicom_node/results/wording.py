"""What is said about a film: the same sentences for the report and for the overlay's panel."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.findings import (
    SCORES,
    ZONE_COUNT,
    Airspace,
    Detection,
    Evidence,
    FilmFindings,
    Outcome,
    level_of_zones,
)
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, EarlierFilm
from dicom_node.results.template_parts import Code
from dicom_node.results.templates import Template

_DIGEST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences on one film, in the words of the template."""

    headline: str
    basis: str
    calibration: str
    explanation: str


def wording_of(film: AnalysedFilm, context: Context, *, has_contour: bool) -> Wording:
    """Return the sentences on an analysed film. Raises `ResultError` without a network's name."""
    detection, template = film.findings.finding, context.template
    assert detection is not None
    card, impression = context.detector(film), template.impression
    return Wording(
        headline=conclusion(film.findings, template),
        basis=impression.basis.format(
            network=card.title,
            version=card.version,
            digest=short_digest(card),
            threshold=template.percent(detection.threshold),
        ),
        calibration=impression.calibrated if detection.calibrated else impression.uncalibrated,
        explanation=explanation(film, template, has_contour=has_contour),
    )


def conclusion(findings: FilmFindings, template: Template) -> str:
    """Return the finding of a film in words, in doubt where the network looked elsewhere."""
    assert findings.finding is not None
    said = headline(findings.finding, template)
    if not elsewhere(findings, template):
        return said
    return template.impression.doubtful.format(headline=said)


def headline(detection: Detection, template: Template) -> str:
    """Return one network's finding in words with its number, or that there is none."""
    threshold = template.percent(detection.threshold)
    if detection.abstained:
        return template.impression.abstained.format(threshold=threshold)
    words = {
        "finding": template.classes[detection.finding_class].wording,
        "probability": template.percent(detection.probability),
        "threshold": threshold,
    }
    if not detection.calibrated:
        return template.impression.headline_uncalibrated.format(**words)
    return template.impression.headline.format(**words, grade=template.grade(detection.probability))


def explanation(film: AnalysedFilm, template: Template, *, has_contour: bool) -> str:
    """Return what the contour means and how far it can be trusted."""
    if not has_contour:
        return template.evidence.missing
    evidence = film.findings.evidence or Evidence()
    return _of_detection(evidence, film.saliency[0].target, template)


def _of_detection(evidence: Evidence, target: str, template: Template) -> str:
    words, finding = template.evidence, template.classes[target].wording
    change, inside = evidence.change_when_hidden, evidence.saliency_in_lungs
    if change is None or change < words.weak_below:
        said = words.weak.format(finding=finding)
    else:
        said = words.sentence.format(finding=finding, change=points(change, template))
    return said if inside is None else f"{said} {_where_it_lies(inside, template)}"


def explanation_of_grade(evidence: Evidence | None, target: str, template: Template) -> str:
    """Return how far the explanation of a severity network can be trusted; "" if not checked."""
    if evidence is None or evidence.change_when_hidden is None:
        return ""
    words = template.severity
    checked = (words.airspace if target == "airspace" else words.scores[target]).checked
    change = words.shown(evidence.change_when_hidden)
    sentence = words.evidence if float(change) > 0 else words.evidence_weak
    said = sentence.format(checked=checked, change=change)
    inside = evidence.saliency_in_lungs
    return said if inside is None else f"{said} {_where_it_lies(inside, template)}"


def contradiction(airspace: Airspace, template: Template) -> str:
    """Return what is said where the level and the zones, as shown, disagree; else "".

    They are two outputs of one network: a level is defined by the number of zones with opacities
    (COVID-Net CXR-S), but not computed from them. Nothing is said where a zone is missing.
    """
    severity = template.severity
    words, shown = severity.airspace, [float(severity.shown(z)) for z in airspace.zones.values()]
    opaque = sum(score >= words.opaque_from for score in shown)
    if len(shown) < ZONE_COUNT or level_of_zones(opaque) == airspace.level:
        return ""
    return words.disagrees.format(zones=opaque, opaque_from=words.opaque_from)


def _where_it_lies(inside: float, template: Template) -> str:
    words = template.evidence
    said = words.elsewhere if _is_outside(inside, template) else words.inside
    return said.format(inside=template.percent(inside))


def elsewhere(findings: FilmFindings, template: Template) -> bool:
    """Whether the network looked mostly outside the lungs."""
    inside = (findings.evidence or Evidence()).saliency_in_lungs
    return inside is not None and _is_outside(inside, template)


def _is_outside(inside: float, template: Template) -> bool:
    return inside < template.evidence.lungs_below


def answer_of(film: AnalysedFilm, network: str, context: Context) -> tuple[str, ...]:
    """Return what one network answered on a film, a line each."""
    findings, template = film.findings, context.template
    words = template.severity
    targets = [heat.target for heat in film.saliency if heat.network == network]
    if network == context.detector(film).id:
        return (conclusion(findings, template),)
    if (detection := findings.detections.get(network)) is not None:
        return (headline(detection, template),)
    if "airspace" in targets and findings.airspace is not None:
        level = words.levels[findings.airspace.level].meaning
        return (f"{level}, {template.percent(findings.airspace.probability)} %",)
    return tuple(
        f"{words.scores[name].wording}: {words.shown(findings.scores[name].value)}"
        for name in targets
        if name in findings.scores
    )


def evidence_of_network(film: AnalysedFilm, network: str, context: Context) -> tuple[str, ...]:
    """Return how far the explanation of one network can be trusted."""
    evidence, template = film.findings.checks.get(network), context.template
    if network == context.detector(film).id:
        return (explanation(film, template, has_contour=bool(film.saliency)),)
    if evidence is None:
        return (template.evidence.missing,)
    target = next(heat.target for heat in film.saliency if heat.network == network)
    if target in template.classes:
        return (_of_detection(evidence, target, template),)
    said = explanation_of_grade(evidence, target, template)
    return (said,) if said else ()


def remarks(findings: FilmFindings, template: Template) -> tuple[str, ...]:
    """Return sentences on the film itself: what may be wrong with it, and how it was read."""
    names = [template.quality.faults[fault].meaning for fault in findings.quality]
    doubts = template.quality.comment.format(faults=", ".join(names)) if names else ""
    said = (doubts, *map(template.notes.sentence, findings.notes))
    return tuple(sentence for sentence in said if sentence)


def course(context: Context) -> tuple[str, ...]:
    """Return a line for each earlier film of the patient, oldest first."""
    return tuple(_earlier(film, context.template) for film in context.earlier)


def _earlier(film: EarlierFilm, template: Template) -> str:
    scores, words = film.findings.scores, template.course
    said = words.film.format(when=film.when, headline=conclusion(film.findings, template))
    shown = {name: template.severity.shown(score.value) for name, score in scores.items()}
    return said + words.scores.format(**shown) if set(shown) == set(SCORES) else said


def not_analysed(findings: FilmFindings) -> str:
    """Return why a film has no findings, in ASCII: any character set can hold it."""
    reason = findings.reason or "no reason is known"
    return reason.encode("ascii", "replace").decode("ascii")


def outcome_code(findings: FilmFindings, template: Template) -> Code:
    """Return the code of what became of a film without findings."""
    words = template.not_analysed
    return words.declined if findings.outcome is Outcome.DECLINED else words.failed


def ordered(detection: Detection, template: Template) -> list[str]:
    """Return the classes in the order in which the template wants them shown."""
    if template.class_order == "template":
        return [name for name in template.classes if name in detection.probabilities]
    return sorted(detection.probabilities, key=lambda name: -detection.probabilities[name])


def points(change: float, template: Template) -> str:
    """Return a difference of two fractions in percentage points."""
    shown = f"{100 * change:.{template.percent_decimals}f}"
    return shown.removeprefix("-") if float(shown) == 0.0 else shown


def short_digest(card: NetworkCard) -> str:
    """Return the first digits of the weights' digest, as file names of weights have them."""
    return card.weights.removeprefix("sha256:")[:_DIGEST_SHOWN]
