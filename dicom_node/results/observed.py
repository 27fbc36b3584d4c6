"""The measurement groups of what networks observed that declare it themselves.

Codes are those of the manifest; where it has none, ours: the key with hyphens (docs/codes.md). A
Finding is what reaches its threshold and has the code of one; all else is a number or an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dicom_node.bundles.declared import Concept, SaidClass, Says
from dicom_node.observations import Candidate, FoundPlace, Observation, ObservationKind
from dicom_node.results.observed_words import (
    called,
    names,
    sentence,
    shown,
    unit_code,
    written,
)
from dicom_node.results.regions import Polygon, area_line, whole_film
from dicom_node.results.severity import SIDES
from dicom_node.results.subject import Subject
from dicom_node.results.template_parts import LONG_STRING, Code
from dicom_node.results.values import PRIVATE_SCHEME, Group, Number, Site, percentage, unit_of
from dicom_node.results.wording import explanation_of_observation

_SHORT = 52
"""Characters of a tracking identifier: ", film 12" may follow."""


def observed_groups(subject: Subject) -> Iterator[Group]:
    """Yield the groups of one film, observation by observation; none where there are none."""
    for observation in subject.film.findings.observed:
        yield from groups_of_observation(observation, subject)


def groups_of_observation(observation: Observation, subject: Subject) -> Iterator[Group]:
    """Yield the groups of one observation; there is one at least."""
    one = _Observed(observation, subject, subject.context.says(observation))
    match observation.kind:
        case ObservationKind.CLASS | ObservationKind.LEVEL:
            yield one.of_class()
        case ObservationKind.LABELS:
            yield from one.of_labels()
        case ObservationKind.REGION:
            yield from one.of_places()
        case ObservationKind.MASK:
            yield one.of_mask()
        case _:
            yield one.of_number()


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """One observation on a film, and what its manifest says of it, where that is installed."""

    observation: Observation
    subject: Subject
    says: Says | None

    def of_class(self) -> Group:
        """Return the group of a class or level: the answer, and every number, the named first."""
        named, words = self.observation.named, self.subject.template.observed
        first = named or self.observation.best
        others = [each for each in self.observation.labels if each is not first]
        said = self._class(named.key) if named else None
        finding = self._code(said.finding) if said else None
        answer = words.undetermined_answer if named is None else self._answer(named.key, said)
        return replace(
            self._group(self._name),
            finding=finding,
            site=self._site if finding else None,
            numbers=tuple(
                self._probability(each, is_finding=finding is not None and each is named)
                for each in (*([first] if first else []), *others)
            ),
            evaluations=((self._concept, answer),),
            others=len(others) if finding else 0,
        )

    def of_labels(self) -> Iterator[Group]:
        """Yield a group a label that is reached, then one with all others, if there are any."""
        missed = [each for each in self.observation.labels if not each.reached]
        summary = self._group(self._name)
        for each in self.observation.believed:
            said = self._class(each.key)
            finding = self._code(said.finding) if said else None
            answer = () if finding else ((self._concept, self._answer(each.key, said)),)
            yield replace(
                summary,
                key=f"{summary.key} {each.key}",
                tracking=self._tracking(self._called(each.key)),
                finding=finding,
                site=self._site if finding else None,
                numbers=(self._probability(each, is_finding=finding is not None),),
                evaluations=answer,
            )
            summary = replace(summary, texts=())
        if missed:
            words = self.subject.template.observed.missed
            told = self._name if summary.texts else _fitted(words, self._name)
            yield replace(
                summary,
                tracking=self._tracking(told),
                numbers=tuple(self._probability(each, is_finding=False) for each in missed),
            )

    def of_places(self) -> Iterator[Group]:
        """Yield a group a place; where there is none, one that says so."""
        places, words = self.observation.places, self.subject.template.observed
        summary = self._group(self._name)
        if not places:
            concept = self._private("count", words.count.format(name=self._name))
            count = Number(f"{self.observation.key} count", concept, 0.0, "0", unit_of(""))
            yield replace(summary, numbers=(count,))
        for number, place in enumerate(places, 1):
            name = self._called(place.label) if place.label else self._name
            told = _fitted(words.place, name, number=number)
            finding = self._finding_of(place)
            yield replace(
                summary,
                key=f"{summary.key} {number}",
                tracking=self._tracking(told if len(places) > 1 else name),
                finding=finding,
                site=self._site if finding else None,
                place=_line(place),
                numbers=tuple(self._number_of(place)),
            )
            summary = replace(summary, texts=())

    def of_mask(self) -> Group:
        """Return the group of a mask: its outlines as one line, and how much it covers."""
        one, template = self.observation, self.subject.template
        line = area_line(self.subject.film, one.network, one.key) if one.reached else None
        finding = self._declared_finding if one.reached else None
        numbers: tuple[Number, ...] = ()
        if one.value is not None:
            concept = self._code(self.says.concept) if self.says else None
            name = concept or self._private("part", template.observed.part.format(name=self._name))
            part = template.percent(one.value, one.threshold or 0.0)
            numbers = (Number(one.key, name, percentage(one.value), part),)
        group = self._group(self._name)
        return replace(
            group,
            finding=finding,
            site=self._site if finding else None,
            place=group.place if line is None else line,
            numbers=numbers,
        )

    def of_number(self) -> Group:
        """Return the group of a score or measurement; without a number where there is none."""
        one, subject = self.observation, self.subject
        words, numbers = subject.template.observed, []
        unit = unit_of(unit_code(one, subject.context), words.units)
        if one.value is not None:
            told = shown(one.value, one, subject.context)
            numbers.append(Number(one.key, self._concept, one.value, told, unit))
        for key, name, value in (("low", words.low, one.low), ("high", words.high, one.high)):
            if value is not None:
                told = written(value, one, subject.context)
                numbers.append(Number(f"{one.key} {key}", name, value, told, unit))
        finding = self._declared_finding if one.reached else None
        group = self._group(self._name)
        return replace(
            group,
            finding=finding,
            site=self._site if finding else None,
            place=_line(one.places[0]) if one.places else group.place,
            numbers=tuple(numbers),
        )

    def _group(self, name: str) -> Group:
        """Return a group that says what was observed, with no number and no finding."""
        one = self.observation
        return Group(
            key=f"observed {one.network} {one.key}",
            tracking=self._tracking(name),
            finding=None,
            place=self._seen,
            texts=tuple(self._texts()),
            network=one.network,
        )

    def _texts(self) -> Iterator[tuple[Code, str]]:
        context, texts = self.subject.context, self.subject.template.texts
        yield texts.headline, sentence(self.observation, context)
        if comment := context.words(self.observation).comment:
            yield texts.comment, comment
        if explained := explanation_of_observation(self.subject.film, self.observation, context):
            yield texts.explanation, explained

    @property
    def _seen(self) -> Polygon | None:
        """What the network saw: the lungs, where it wants no more and they were found, or all."""
        card = self.subject.context.networks.get(self.observation.network)
        declared = card.declaration if card else None
        if declared is not None and declared.eats.pixels.region == "lungs":
            lungs = self.subject.places.both_lungs
            if lungs is not None:
                return lungs
        return whole_film(self.subject.film)

    @property
    def _name(self) -> str:
        return names(self.observation, self.subject.context)

    def _called(self, label: str) -> str:
        return called(self.observation, label, self.subject.context)

    def _tracking(self, name: str) -> str:
        return f"{name[:_SHORT]}{self.subject.where}"

    def _probability(self, one: Candidate, *, is_finding: bool) -> Number:
        """Return the number of a class or label: a certainty only of what is found."""
        return self._named(one.key, one, is_finding=is_finding)

    def _number_of(self, place: FoundPlace) -> Iterator[Number]:
        if place.probability is not None:
            one = Candidate(place.label, place.probability, self.observation.threshold or 0.0)
            key = place.label or self.observation.key
            yield self._named(key, one, is_finding=self._finding_of(place) is not None)

    def _named(self, key: str, one: Candidate, *, is_finding: bool) -> Number:
        template, words = self.subject.template, self.subject.template.observed
        label = self._called(one.key) if one.key else self._name
        if self.observation.kind in (ObservationKind.CLASS, ObservationKind.LEVEL):
            # "None" and "mild" say nothing by themselves.
            key, label = f"{self.observation.key}-{one.key}", f"{self._name}: {label}"
        form, end = words.probability, "probability"
        if not self.observation.calibrated:
            form, end = words.score, "score"
        elif is_finding:
            form, end = words.certainty, "certainty"
        return Number(
            key,
            _private(f"{key}-{end}", form.format(label=label)),
            percentage(one.probability),
            template.percent(one.probability, one.threshold),
            also=template.measurements.certainty if end == "certainty" else None,
        )

    def _class(self, key: str) -> SaidClass | None:
        classes: Sequence[SaidClass] = self.says.classes if self.says else ()
        return next((each for each in classes if each.key == key), None)

    def _answer(self, key: str, said: SaidClass | None) -> Code:
        return self._code(said.answer if said else None) or self._code_of(key)

    def _code_of(self, label: str) -> Code:
        return _private(label, self._called(label))

    def _private(self, end: str, meaning: str) -> Code:
        return _private(f"{self.observation.key}-{end}", meaning)

    @property
    def _concept(self) -> Code:
        """How what is observed is coded."""
        coded = self._code(self.says.concept) if self.says else None
        return coded or _private(self.observation.key, self._name)

    @property
    def _declared_finding(self) -> Code | None:
        return self._code(self.says.finding) if self.says else None

    def _finding_of(self, place: FoundPlace) -> Code | None:
        said = self._class(place.label) if place.label else None
        return (self._code(said.finding) if said else None) or self._declared_finding

    @property
    def _site(self) -> Site | None:
        says = self.says
        place = self._code(says.site) if says else None
        if says is None or place is None:
            return None
        return Site(place, SIDES[says.laterality] if says.laterality else None)

    def _code(self, declared: Concept | None) -> Code | None:
        """Return a code of the manifest in letters that the film's character set has."""
        if declared is None:
            return None
        told = self.subject.template.spoken(declared)
        return Code.model_construct(
            value=told.value, scheme=told.scheme, meaning=told.meaning[:LONG_STRING]
        )


def _fitted(form: str, name: str, **others: object) -> str:
    """Return a tracking identifier in which the name, and nothing else, is cut to what fits."""
    room = _SHORT - len(form.format(name="", **others))
    return form.format(name=name[: max(room, 0)], **others)


def _private(key: str, meaning: str) -> Code:
    return Code.model_construct(
        value=key.replace("_", "-"), scheme=PRIVATE_SCHEME, meaning=meaning[:LONG_STRING]
    )


def _line(place: FoundPlace) -> Polygon:
    """Return a place as a closed line; two points as the line between them."""
    points = np.array(place.points, np.float64)
    closed = len(points) < 3 or (points[0] == points[-1]).all()
    return points if closed else np.concatenate([points, points[:1]])
