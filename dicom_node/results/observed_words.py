"""What networks observed that declare it themselves, in words: for reports, panels and pages.

Names come from the template or the manifest (`Context.words`), sentences from the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dicom_node.bundles.declared import plain
from dicom_node.bundles.found import is_finding, is_label_finding
from dicom_node.findings import FilmFindings
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.results.films import Context
from dicom_node.results.templates import Template
from dicom_node.results.values import unit_of

Row = tuple[str, str, bool]
"""A name, what is said of it, and whether it is found."""

_ONE_OF = (ObservationKind.CLASS, ObservationKind.LEVEL)
_MOST_DIGITS, _MOST_LETTERS = 6, 16


def names(observation: Observation, context: Context) -> str:
    """Return how an observation is called."""
    return context.words(observation).name


def called(observation: Observation, key: str, context: Context) -> str:
    """Return how one of its classes, levels or labels is called."""
    told = context.words(observation)
    return told.classes.get(key) or plain(key)


def is_found(observation: Observation, context: Context) -> bool:
    """Whether an observation says that something is there, see `is_finding`."""
    return is_finding(observation, context.says(observation))


def has_observed_findings(findings: FilmFindings, context: Context) -> bool:
    """Whether any network that declares itself found anything on a film."""
    return any(is_found(each, context) for each in findings.observed)


def headlines(findings: FilmFindings, context: Context) -> tuple[Observation, ...]:
    """Return the observations that stand for a film: those of the headline, else all."""
    chosen = (each for each in findings.observed if (said := context.says(each)) and said.headline)
    return tuple(chosen) or findings.observed


def conclusion_of(findings: FilmFindings, context: Context) -> str:
    """Return what was observed on a film, in a line: "Pleural effusion (81 %); width 152.3 mm".

    That no network gave an answer, where none did.
    """
    said = [_in_conclusion(each, context) for each in headlines(findings, context)]
    return "; ".join(said) if said else context.template.observed.nothing


def unanswered(findings: FilmFindings, context: Context) -> tuple[str, ...]:
    """Return a sentence for each network that said nothing of a film."""
    words, template = context.template.observed, context.template
    return tuple(
        words.unanswered.format(
            network=template.spoken(card.title if (card := context.networks.get(name)) else name),
            why=template.spoken(reason(why, template)),
        )
        for name, why in findings.unanswered.items()
    )


def reason(why: str, template: Template) -> str:
    """Return why a value is missing or a network said nothing, in the template's words.

    Findings hold it in English; what no template foresees stays as it is.
    """
    said = why.rstrip(".")
    for known, words in template.observed.reasons.items():
        pattern = _PLACE.sub(r"(?P<\1>.+)", re.escape(known))
        if (found := re.fullmatch(pattern, said)) is not None:
            return words.format(**found.groupdict()) + why[len(said) :]
    return why


_PLACE = re.compile(r"\\\{(\w+)\\\}")
"""A place in a reason that stands for anything, as `re.escape` leaves it."""


def sentence(observation: Observation, context: Context) -> str:
    """Return an observation in a sentence without a full stop, its name first."""
    words = context.template.observed
    return words.sentence.format(
        name=names(observation, context), answer=_answer(observation, context)
    )


def short(observation: Observation, context: Context) -> str:
    """Return an observation as short as it can be understood beside others of its kind.

    "Pleural effusion 81 %", "Nodules: 2", "152.3 mm (140.1 to 164.5)".
    """
    if observation.kind is ObservationKind.REGION or observation.kind is ObservationKind.LABELS:
        if observation.kind is ObservationKind.LABELS and observation.believed:
            return ", ".join(_label(each, observation, context) for each in observation.believed)
        return context.template.observed.short.format(
            name=names(observation, context), answer=value(observation, context)
        )
    return value(observation, context)


def value(observation: Observation, context: Context) -> str:
    """Return what stands beside an observation's name in a table."""
    words = context.template.observed
    if observation.kind is ObservationKind.REGION:
        return str(len(observation.places)) if observation.places else words.none
    if observation.labels:
        told = [_label(each, observation, context) for each in observation.believed]
        nothing = words.undetermined if observation.kind in _ONE_OF else words.none
        return ", ".join(told) or nothing
    return number_of(observation, context)


def rows(observation: Observation, context: Context) -> tuple[Row, ...]:
    """Return the lines of an observation in a table.

    One a label, or one a class of places that were found; else one.
    """
    return tuple(_rows(observation, context))


def number_of(observation: Observation, context: Context) -> str:
    """Return the number of a score, measurement or mask with unit and interval; or why none."""
    words, template = context.template.observed, context.template
    if observation.value is None:
        return words.absent.format(
            why=template.spoken(reason(observation.absent, template) or words.none)
        )
    if observation.kind is ObservationKind.MASK:
        said = context.says(observation)
        covered = words.covered_lungs if said and said.inside == "lungs" else words.covered
        return covered.format(part=template.percent(observation.value, observation.threshold or 0))
    unit = unit_of(unit_code(observation, context), words.units).shown
    told = {"value": shown(observation.value, observation, context), "unit": unit}
    low, high = observation.low, observation.high
    if low is None or high is None:
        return words.number.format(**told).strip()
    ends = {"low": written(low, observation, context), "high": written(high, observation, context)}
    return " ".join(words.interval.format(**told, **ends).split())


def shown(number: float, observation: Observation, context: Context) -> str:
    """Return a number with its decimals: more where it would read as reaching its threshold."""
    said = context.says(observation)
    least, threshold = said.decimals if said else 1, observation.threshold
    for decimals in range(least, _MOST_DIGITS + 1):
        told = _rounded(number, decimals)
        below = threshold is None or number >= threshold
        if below or float(told) < float(_rounded(threshold or 0.0, decimals)):
            break
    return told.replace(".", context.template.decimal)


def written(number: float, observation: Observation, context: Context) -> str:
    """Return a number with the decimals of its observation."""
    said = context.says(observation)
    return _rounded(number, said.decimals if said else 1).replace(".", context.template.decimal)


def in_unit(number: float, observation: Observation, context: Context) -> str:
    """Return a number in the unit of its observation."""
    words = context.template.observed
    unit = unit_of(unit_code(observation, context), words.units).shown
    told = written(number, observation, context)
    return words.number.format(value=told, unit="" if unit.startswith("/") else unit).strip()


def unit_code(observation: Observation, context: Context) -> str:
    """Return the unit's code (UCUM); of a score without one its range."""
    if observation.unit or observation.kind is not ObservationKind.SCORE:
        return observation.unit
    said = context.says(observation)
    return f"{{{said.range[0]:g}:{said.range[1]:g}}}" if said and said.range else ""


def _rows(observation: Observation, context: Context) -> Iterator[Row]:
    if observation.kind is ObservationKind.LABELS:
        for one in observation.labels:
            told = percent_of(one, observation, context)
            found = one.reached and is_label_finding(one, observation, context.says(observation))
            yield called(observation, one.key, context), told, found
        return
    labels = dict.fromkeys(place.label for place in observation.places if place.label)
    if observation.kind is not ObservationKind.REGION or not labels:
        found = is_found(observation, context)
        yield names(observation, context), value(observation, context), found
        return
    for label in labels:
        places = tuple(place for place in observation.places if place.label == label)
        yield called(observation, label, context), str(len(places)), True


def _in_conclusion(observation: Observation, context: Context) -> str:
    words, name = context.template.observed, names(observation, context)
    if observation.kind is ObservationKind.LABELS and observation.believed:
        return ", ".join(_found(each, observation, context) for each in observation.believed)
    if observation.kind in _ONE_OF and observation.named is not None:
        return words.sentence.format(
            name=name, answer=_found(observation.named, observation, context)
        )
    is_number = not observation.labels and observation.kind is not ObservationKind.REGION
    form = words.headline if is_number and observation.value is not None else words.sentence
    return form.format(name=name, answer=value(observation, context))


def _answer(observation: Observation, context: Context) -> str:
    """Return what an observation says, with what it is held against."""
    words = context.template.observed
    if observation.labels:
        return _of_labels(observation, context)
    if observation.kind is ObservationKind.REGION:
        return _of_places(observation, context)
    said = number_of(observation, context)
    threshold = observation.threshold
    if observation.value is None or threshold is None:
        return said
    if observation.kind is ObservationKind.MASK:
        against = f"{context.template.percent(threshold)} %"
    else:
        against = in_unit(threshold, observation, context)
    return words.threshold.format(answer=said, threshold=against)


def _of_labels(observation: Observation, context: Context) -> str:
    words = context.template.observed
    if observation.believed:
        return ", ".join(_found(each, observation, context) for each in observation.believed)
    each = ", ".join(_label(each, observation, context) for each in observation.labels)
    form = words.unnamed if observation.kind in _ONE_OF else words.none_reached
    return form.format(each=each)


def _of_places(observation: Observation, context: Context) -> str:
    words = context.template.observed
    if not observation.places:
        return words.none
    told = [_place(place, observation, context) for place in observation.places]
    if not any(told):
        return str(len(told))
    return words.places.format(count=len(told), each=", ".join(filter(None, told)))


def _place(place: FoundPlace, observation: Observation, context: Context) -> str:
    """Return a place as its class and probability, as far as there are any."""
    if place.probability is None:
        return called(observation, place.label, context) if place.label else ""
    one = Candidate(place.label, place.probability, observation.threshold or 0.0)
    if place.label:
        return _label(one, observation, context)
    return percent_of(one, observation, context)


def _label(one: Candidate, observation: Observation, context: Context) -> str:
    words = context.template.observed
    form = words.label if observation.calibrated else words.label_uncalibrated
    return _filled(form, one, observation, context)


def _found(one: Candidate, observation: Observation, context: Context) -> str:
    words = context.template.observed
    form = words.found if observation.calibrated else words.found_uncalibrated
    return _filled(form, one, observation, context)


def percent_of(one: Candidate, observation: Observation, context: Context) -> str:
    """Return how probable something is; of what is not calibrated, that it is a score."""
    words = context.template.observed
    form = words.percent if observation.calibrated else words.percent_uncalibrated
    return form.format(probability=context.template.percent(one.probability, one.threshold))


def _filled(form: str, one: Candidate, observation: Observation, context: Context) -> str:
    return form.format(
        label=called(observation, one.key, context),
        probability=context.template.percent(one.probability, one.threshold),
    )


def _rounded(number: float, decimals: int) -> str:
    """Return a number as a Decimal String, of at most 16 letters (PS3.5 section 6.2)."""
    told = f"{number:.{decimals}f}"
    if float(told) == 0.0:
        told = told.removeprefix("-")
    return told if len(told) <= _MOST_LETTERS else f"{number:.9g}"
