"""What is said about a film: the same sentences for the report and for the overlay's panel."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.findings import Detection, Evidence, FilmFindings, Outcome
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.templates import Code, Template

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
    said = headline(detection, template)
    return Wording(
        headline=impression.doubtful.format(headline=said) if elsewhere(film, template) else said,
        basis=impression.basis.format(
            network=card.title,
            version=card.version,
            digest=short_digest(card),
            threshold=template.percent(detection.threshold),
        ),
        calibration=impression.calibrated if detection.calibrated else impression.uncalibrated,
        explanation=explanation(film, template, has_contour=has_contour),
    )


def headline(detection: Detection, template: Template) -> str:
    """Return the finding in words with its number, or that there is none."""
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
    words, evidence = template.evidence, film.findings.evidence or Evidence()
    if not has_contour:
        return words.missing
    finding = template.classes[film.saliency[0].target].wording
    change, inside = evidence.change_when_hidden, evidence.saliency_in_lungs
    if change is None or change < words.weak_below:
        said = words.weak.format(finding=finding)
    else:
        said = words.sentence.format(finding=finding, change=points(change, template))
    if inside is None:
        return said
    if elsewhere(film, template):
        return f"{said} {words.elsewhere.format(inside=template.percent(inside))}"
    return f"{said} {words.inside.format(inside=template.percent(inside))}"


def elsewhere(film: AnalysedFilm, template: Template) -> bool:
    """Whether the network looked mostly outside the lungs."""
    evidence = film.findings.evidence or Evidence()
    inside = evidence.saliency_in_lungs
    return inside is not None and inside < template.evidence.lungs_below


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
