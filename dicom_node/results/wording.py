"""What is said about a film: the same sentences for the report and for the overlay's panel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicom_node.chest import (
    APPEARANCES,
    OPAQUE_ZONE,
    PARTS,
    SCORES,
    Appearance,
    Detection,
    OpacityPresence,
    Score,
    opaque_parts,
)
from dicom_node.findings import (
    Evidence,
    FilmFindings,
    Outcome,
)
from dicom_node.imaging.header import view_of
from dicom_node.observations import Observation, ObservationKind
from dicom_node.results.cards import NetworkCard
from dicom_node.results.films import AnalysedFilm, Context, EarlierFilm
from dicom_node.results.observed_words import (
    called,
    conclusion_of,
    in_unit,
    names,
    sentence,
)
from dicom_node.results.template_parts import Code, EvidenceText
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
    if detection is None:
        return _wording_of_observations(film, context)
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


def _wording_of_observations(film: AnalysedFilm, context: Context) -> Wording:
    """Return the sentences on a film that no detection network looked at."""
    observed, words = film.findings.observed, context.template.observed
    networks = dict.fromkeys(one.network for one in observed)
    cards = [context.card(film, name) for name in networks]
    numbers = [one.calibrated for one in observed if one.labels or one.places]
    calibration = words.calibrated if all(numbers) else words.uncalibrated
    # Of several that tell where they looked the first is shown.
    shown = [film.saliency[0].network] if film.saliency else networks
    explained = (explanation_of_network(film, name, context) for name in shown)
    return Wording(
        headline=conclusion_of(film.findings, context),
        basis=" ".join(
            words.basis.format(network=card.title, version=card.version, digest=short_digest(card))
            for card in cards
        ),
        calibration=calibration if numbers else "",
        explanation=" ".join(dict.fromkeys(filter(None, explained))),
    )


def knows(film: AnalysedFilm, context: Context) -> str:
    """Return what was looked for on a film, and nothing else was."""
    impression = context.template.impression
    if film.findings.finding is not None:
        # Beside networks of others: what ours do not look for, these may.
        return (impression.knows_beside if film.findings.observed else "") or impression.knows
    networks = dict.fromkeys(one.network for one in film.findings.observed)
    titles = "; ".join(context.card(film, name).title for name in networks)
    return context.template.observed.knows.format(networks=titles)


def heading_of(films: Sequence[AnalysedFilm], template: Template) -> str:
    """Return what results of these films are headed: others than our own eat more than chests."""
    answered = [film for film in films if film.has_answers]
    of_chest = not answered or any(film.findings.finding is not None for film in answered)
    return template.panel.heading if of_chest else template.panel.heading_any


def conclusion_on(findings: FilmFindings, context: Context) -> str:
    """Return what was found on a film in words, or observed, where no network names a finding."""
    if findings.finding is None:
        return conclusion_of(findings, context)
    return conclusion(findings, context.template)


def conclusion(findings: FilmFindings, template: Template) -> str:
    """Return what was found on a film in words: opacity first, then class, then appearance.

    In doubt where answers contradict each other, with low confidence where the network that named
    the class looked elsewhere.
    """
    assert findings.finding is not None
    said = contradiction(findings, template) or ". ".join(_each_answer(findings, template))
    why = _elsewhere(findings.evidence or Evidence(), template)
    if not why or findings.finding.abstained:
        return said
    return template.impression.doubtful.format(headline=said, why=why)


_FIRST = ("opacity", "finding", "appearance")
"""What the network of the finding answers, in the order in which it is said."""


def _each_answer(findings: FilmFindings, template: Template) -> Iterator[str]:
    """Yield what the network of the finding says on a film whose answers can all be true."""
    opacity, found, appearance = findings.opacity, findings.finding, findings.appearance
    assert found is not None
    if _is_plainly_normal(findings):
        shown = template.percent(found.probability)
        yield template.opacity.normal.format(probability=shown)
    else:
        if opacity is not None:
            yield opacity_sentence(opacity, template)
        yield headline(found, template)
    if appearance is not None and not (
        appearance.abstained or (_is_plainly_normal(findings) and appearance.named == "negative")
    ):
        yield appearance_sentence(appearance, template)


def _is_plainly_normal(findings: FilmFindings) -> bool:
    """Whether no opacity was found and the film was read as normal, by a calibrated network."""
    opacity, found = findings.opacity, findings.finding
    if opacity is None or opacity.present or found is None or found.abstained:
        return False
    return found.calibrated and found.finding_class == "normal"


def opacity_sentence(found: OpacityPresence, template: Template) -> str:
    """Return whether there is opacity, with the number and what it is held against."""
    words = template.opacity
    sentence = words.sentence if found.calibrated else words.sentence_uncalibrated
    return sentence.format(
        answer=words.yes if found.present else words.no,
        probability=template.percent(found.probability, found.threshold),
        threshold=template.percent(found.threshold),
    )


def appearance_sentence(found: Appearance, template: Template) -> str:
    """Return the appearance with its number, and that it is no diagnosis; or that none is named."""
    words = template.appearance
    if found.abstained:
        return words.none.format(threshold=template.percent(found.threshold))
    sentence = words.sentence if found.calibrated else words.sentence_uncalibrated
    return sentence.format(
        appearance=words.classes[found.named].wording,
        probability=template.percent(found.probability, found.threshold),
    )


def every_appearance(found: Appearance, template: Template) -> str:
    """Return the probabilities of all appearances, in the order of reports."""
    words = template.appearance
    each = (
        words.each.format(
            appearance=words.classes[name].wording,
            probability=template.percent(found.probabilities[name], found.threshold),
        )
        for name in APPEARANCES
        if name in found.probabilities
    )
    return words.all.format(each=", ".join(each))


def contradiction(findings: FilmFindings, template: Template) -> str:
    """Return what is said of answers that cannot both be true; "" if none.

    Answers that contradict none are no part of it, and said behind: opacity, finding, appearance.
    """
    pairs = findings.contradictions
    if not pairs:
        return ""
    # An appearance that may or may not have opacities is contradicted only by a normal film.
    said = {name: opaque is not False for name, opaque in findings.chest.opacities.items()}
    first = pairs[0][0]
    named = dict.fromkeys(name for pair in pairs for name in pair)
    other = [name for name in named if said[name] != said[first]] or [pairs[0][1]]
    one = [name for name in named if name not in other]
    against = template.contradiction.headline.format(
        one="; ".join(_answer(name, findings, template) for name in one),
        other="; ".join(_answer(name, findings, template) for name in other),
    )
    rest = (_answer(name, findings, template) for name in _FIRST if name not in named)
    return ". ".join([against, *filter(None, rest)])


def _answer(name: str, findings: FilmFindings, template: Template) -> str:
    """Return one answer in words, by its name in `findings.contradictions`; "" without it."""
    kind, _, which = name.partition(".")
    words, airspace = template.contradiction, findings.airspace
    if kind == "opacity":
        return opacity_sentence(findings.opacity, template) if findings.opacity else ""
    if kind == "appearance":
        return appearance_sentence(findings.appearance, template) if findings.appearance else ""
    if kind == "scores":
        score = interval(findings.scores[which], template)
        return words.score.format(score=template.severity.scores[which].wording, value=score)
    if airspace is not None and which == "level":
        return template.severity.levels[airspace.level].meaning
    if airspace is not None and which == PARTS:
        opaque_from = template.score(OPAQUE_ZONE)
        return words.parts.format(**{PARTS: opaque_parts(airspace)}, opaque_from=opaque_from)
    if name == "opacity_map" and findings.opacity_map is not None:
        return words.map.format(part=template.percent(findings.opacity_map.lungs or 0.0))
    found = findings.detections[which] if which else findings.finding
    return headline(found, template) if found else ""


def interval(score: Score, template: Template) -> str:
    """Return a score with its interval, where there is one."""
    value = template.score(score.value)
    if score.low is None or score.high is None:
        return value
    low, high = template.score(score.low), template.score(score.high)
    return template.contradiction.interval.format(value=value, low=low, high=high)


def headline(detection: Detection, template: Template) -> str:
    """Return one network's finding in words with its number, or that there is none."""
    threshold = template.percent(detection.threshold)
    if detection.abstained:
        return template.impression.abstained.format(threshold=threshold)
    words = {
        "finding": template.classes[detection.finding_class].wording,
        "films": template.classes[detection.finding_class].films,
        "probability": template.percent(detection.probability),
        "threshold": threshold,
    }
    if not detection.calibrated:
        return template.impression.headline_uncalibrated.format(**words)
    return template.impression.headline.format(**words, grade=template.grade(detection.probability))


def probability(detection: Detection, name: str, template: Template) -> str:
    """Return the probability of a class in percent; never what reads as the threshold below it."""
    return template.percent(detection.probabilities[name], detection.threshold)


def explanation(film: AnalysedFilm, template: Template, *, has_contour: bool) -> str:
    """Return what the contour means and how far it can be trusted."""
    looked = film.saliency[0] if film.saliency else None
    if looked is None or looked.target not in template.classes or not looked.heat.max() > 0:
        return template.evidence.missing
    evidence = film.findings.evidence or Evidence()
    return _of_detection(evidence, film.saliency[0].target, template, has_contour=has_contour)


def _of_detection(evidence: Evidence, target: str, template: Template, *, has_contour: bool) -> str:
    words, finding = template.evidence, template.classes[target].wording
    change = evidence.change_when_hidden
    if not has_contour:
        said = words.not_drawn
    elif change is None or change < words.weak_below:
        said = words.weak.format(finding=finding)
    else:
        said = words.sentence.format(finding=finding, change=template.points(change))
    return " ".join([said, *_where_it_lies(evidence, template)])


def explanation_of_grade(film: AnalysedFilm, network: str, target: str, template: Template) -> str:
    """Return how far the explanation of a severity network can be trusted.

    "" where it was not checked, and where the network found nothing that it could explain.
    """
    findings, evidence = film.findings, film.findings.checks.get(network)
    if evidence is None or evidence.change_when_hidden is None or not findings.chest.graded(target):
        return ""
    words = template.severity
    checked = (words.airspace if target == "airspace" else words.scores[target]).checked
    change = evidence.change_when_hidden
    weak = round(change, words.decimals) <= 0
    if any(heat.mapped_by for heat in film.saliency if heat.network == network):
        sentence = words.mapped_weak if weak else words.mapped
    else:
        sentence = words.evidence_weak if weak else words.evidence
    said = sentence.format(checked=checked, change=template.score(change))
    return " ".join([said, *_where_it_lies(evidence, template)])


def explanation_of_network(film: AnalysedFilm, network: str, context: Context) -> str:
    """Return how a network that declares itself is explained; "" where it needs no explanation."""
    said = (one for one in film.findings.observed if one.network == network)
    told = (explanation_of_observation(film, one, context) for one in said)
    return next(filter(None, told), "")


def explanation_of_observation(
    film: AnalysedFilm, observation: Observation, context: Context
) -> str:
    """Return where the network looked for an observation, and how far that can be trusted.

    That there is no explanation, where the manifest wants none; "" of what is a place itself, and
    of what is not the observation that was explained.
    """
    network, template = observation.network, context.template
    looked = next((heat for heat in film.saliency if heat.network == network), None)
    if looked is None or not looked.heat.max() > 0:
        if observation.places or observation.kind in _PLACES:
            return ""
        card = context.networks.get(network)
        wants_none = bool(card and card.declaration and card.declaration.explain == "none")
        return template.observed.unexplained if wants_none else template.evidence.missing
    key, _, label = looked.target.partition(":")
    if key != observation.key:
        return ""
    words, evidence = template.observed, film.findings.checks.get(network, Evidence())
    change, is_part = evidence.change_when_hidden, observation.kind not in _NUMBERS
    finding = called(observation, label, context) if label else names(observation, context)
    if change is None or change < (template.evidence.weak_below if is_part else 0.0):
        said = words.explained_weak.format(finding=finding)
    else:
        points = words.points.format(change=template.points(change))
        fall = points if is_part else in_unit(change, observation, context)
        said = words.explained.format(finding=finding, change=fall)
    return " ".join([said, *_where_it_lies(evidence, template)])


_PLACES = (ObservationKind.REGION, ObservationKind.MASK)
_NUMBERS = (ObservationKind.SCORE, ObservationKind.MEASUREMENT)


def _where_it_lies(evidence: Evidence, template: Template) -> Iterator[str]:
    """Yield how the heat lies to the lungs: against chance, and where its highest point is."""
    words, inside = template.evidence, evidence.saliency_in_lungs
    if inside is None:
        return
    said = {"inside": template.percent(inside), "chance": template.percent(evidence.chance or 0.0)}
    if evidence.ratio is None:
        yield words.inside.format(**said)
    else:
        yield words.inside_by_chance.format(**said, ratio=template.times(evidence.ratio))
    if evidence.peak_in_lungs is False:
        yield words.peak
    elif _elsewhere(evidence, template):
        yield words.elsewhere.format(**said)


def looked_elsewhere(evidence: Evidence, words: EvidenceText) -> bool:
    """Whether a network looked at the lungs hardly more than chance, or most of all outside."""
    inside, ratio = evidence.saliency_in_lungs, evidence.ratio
    if evidence.peak_in_lungs is False or (ratio is not None and ratio < words.ratio_below):
        return True
    return inside is not None and inside < words.lungs_below


def _elsewhere(evidence: Evidence, template: Template) -> str:
    """Return why the network is said to have looked elsewhere, or ""."""
    if not looked_elsewhere(evidence, template.evidence):
        return ""
    outside = evidence.peak_in_lungs is False or evidence.ratio is None
    return template.impression.outside if outside else template.impression.by_chance


def view(film: AnalysedFilm, template: Template) -> str:
    """Return how the film was taken, and what that means for the answer."""
    words = template.view
    caveats = {"AP": words.caveat_ap, "PA": ""}
    caveat = caveats.get(film.view, words.caveat_unknown)
    if film.findings.finding is None:
        # What is known of AP films is known of our own networks.
        caveat = ""
    said = words.sentence.format(view=view_name(film, template), caveat=caveat)
    # A name may end in a full stop of its own ("p.a.").
    return said.strip().replace("..", ".")


def view_name(film: AnalysedFilm, template: Template) -> str:
    """Return how the film was taken; as its header has it where others than ours eat the film."""
    stated = view_of(film.dataset)[0]
    if film.findings.finding is None and film.view == "unknown" and stated:
        return template.spoken(stated)
    return template.view.names[film.view]


def answer_of(film: AnalysedFilm, network: str, context: Context) -> tuple[str, ...]:
    """Return what one network answered on a film, a line each."""
    findings, template = film.findings, context.template
    words = template.severity
    targets = [heat.target for heat in film.saliency if heat.network == network]
    observed = [one for one in findings.observed if one.network == network]
    if observed:
        return tuple(sentence(one, context) for one in observed)
    if network == context.detector(film).id:
        return (conclusion(findings, template),)
    if (detection := findings.detections.get(network)) is not None:
        return (headline(detection, template),)
    if "airspace" in targets and findings.airspace is not None:
        level = words.levels[findings.airspace.level].meaning
        return (f"{level} ({template.percent(findings.airspace.probability)} %)",)
    return tuple(
        f"{words.scores[name].wording}: {template.score(findings.scores[name].value)}"
        for name in targets
        if name in findings.scores
    )


def evidence_of_network(
    film: AnalysedFilm, network: str, context: Context, *, has_contour: bool
) -> tuple[str, ...]:
    """Return how far the explanation of one network can be trusted."""
    evidence, template = film.findings.checks.get(network), context.template
    if any(one.network == network for one in film.findings.observed):
        return tuple(filter(None, [explanation_of_network(film, network, context)]))
    if network == context.detector(film).id:
        return (explanation(film, template, has_contour=has_contour),)
    if evidence is None:
        return (template.evidence.missing,)
    target = next(heat.target for heat in film.saliency if heat.network == network)
    if target in template.classes:
        return (_of_detection(evidence, target, template, has_contour=has_contour),)
    said = explanation_of_grade(film, network, target, template)
    return (said or template.evidence.not_drawn,)


def remarks(findings: FilmFindings, template: Template) -> tuple[str, ...]:
    """Return sentences on the film itself: what may be wrong with it, and how it was read."""
    names = [template.quality.faults[fault].meaning for fault in findings.quality]
    doubts = template.quality.comment.format(faults=", ".join(names)) if names else ""
    said = (doubts, *map(template.notes.sentence, findings.notes))
    return tuple(sentence for sentence in said if sentence)


def course(context: Context) -> tuple[str, ...]:
    """Return a line for each earlier film of the patient, oldest first."""
    return tuple(_earlier(film, context) for film in context.earlier)


def _earlier(film: EarlierFilm, context: Context) -> str:
    template = context.template
    scores, words = film.findings.scores, template.course
    said = words.film.format(when=film.when, headline=conclusion_on(film.findings, context))
    shown = {name: template.score(score.value) for name, score in scores.items()}
    return said + words.scores.format(**shown) if set(shown) == set(SCORES) else said


def not_analysed(findings: FilmFindings) -> str:
    """Return why a film has no findings, in ASCII: any character set can hold it."""
    said = "; ".join(f"{name}: {why}" for name, why in findings.unanswered.items())
    reason = findings.reason or said or "no reason is known"
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


def short_digest(card: NetworkCard) -> str:
    """Return the first digits of the weights' digest, as file names of weights have them."""
    return card.weights.removeprefix("sha256:")[:_DIGEST_SHOWN]
