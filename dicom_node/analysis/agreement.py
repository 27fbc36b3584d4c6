"""How far two networks agree on the films that both answered: what is found, and by how much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicom_node.observations import Observation, ObservationKind

BothAnswers = tuple[str, Sequence[Observation], Sequence[Observation]]
"""SOP Instance UID of a film, what the first network observed on it, and the second."""

MOST_DIFFERENT = 5
"""So many films are named that differ most."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one network said under a name: whether it is found, its number, or which class.

    None where there is no such thing: a score without threshold is never found.
    """

    found: bool | None
    number: float | None
    named: str | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two networks under one name, on the films where both said something under it.

    ``counts``: films found by both, by the first alone, by the second alone, by neither; None
    where nothing is ever found. ``agreement``: part of the films on which they say the same.
    ``differences``: second minus first. ``most``: UIDs of the films that differ most, and by how
    much.
    """

    name: str
    films: int
    counts: tuple[int, int, int, int] | None
    agreement: float | None
    numbers: tuple[tuple[float, float], ...]
    most: tuple[tuple[str, float], ...]

    @property
    def differences(self) -> tuple[float, float, float] | None:
        """Median of the differences, and between what 95 % of them lie; None without numbers."""
        if not self.numbers:
            return None
        gaps = [second - first for first, second in self.numbers]
        low, middle, high = np.percentile(gaps, [2.5, 50, 97.5])
        return float(middle), float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, without the films' numbers."""
        told: dict[str, Any] = {"name": self.name, "films": self.films, "agreement": self.agreement}
        if self.counts is not None:
            told["counts"] = dict(
                zip(("both", "first_alone", "second_alone", "neither"), self.counts, strict=True)
            )
        if (found := self.differences) is not None:
            told["difference"] = dict(zip(("median", "low", "high"), found, strict=True))
        told["most_different"] = [
            {"sop_instance_uid": uid, "difference": gap} for uid, gap in self.most
        ]
        return told


def agreements(films: Iterable[BothAnswers]) -> tuple[Agreement, ...]:
    """Return how far two networks agree, by observation and class, in the order of the first."""
    pairs: dict[str, list[tuple[str, _Answer, _Answer]]] = defaultdict(list)
    for uid, first, second in films:
        ours, theirs = _answers(first), _answers(second)
        for name in ours:
            if name in theirs:
                pairs[name].append((uid, ours[name], theirs[name]))
    return tuple(_agreement(name, told) for name, told in pairs.items())


def _answers(observations: Sequence[Observation]) -> Mapping[str, _Answer]:
    return {name: answer for one in observations for name, answer in _named(one)}


def _named(one: Observation) -> Iterator[tuple[str, _Answer]]:
    """Yield what an observation says: for one with classes also of each class."""
    if one.kind in (ObservationKind.CLASS, ObservationKind.LEVEL):
        named = one.named
        yield one.key, _Answer(None, None, named.key if named else "undetermined")
    if one.labels:
        believed = one.believed
        for label in one.labels:
            yield f"{one.key}.{label.key}", _Answer(label in believed, label.probability)
    elif one.kind is ObservationKind.REGION:
        yield one.key, _Answer(one.reached, float(len(one.places)))
    else:
        found = one.reached if one.threshold is not None and one.value is not None else None
        yield one.key, _Answer(found, one.value)


def _agreement(name: str, told: Sequence[tuple[str, _Answer, _Answer]]) -> Agreement:
    found = [
        (first.found, second.found)
        for _, first, second in told
        if first.found is not None and second.found is not None
    ]
    gaps = [
        (uid, first.number, second.number)
        for uid, first, second in told
        if first.number is not None and second.number is not None
    ]
    named = [(uid, first.named, second.named) for uid, first, second in told if first.named]
    same = [one == other for one, other in found] + [one == other for _, one, other in named]
    counts = (
        sum(one and other for one, other in found), sum(one and not other for one, other in found),
        sum(other and not one for one, other in found),
        sum(not one and not other for one, other in found),
    )  # fmt: skip
    most = sorted(((uid, other - one) for uid, one, other in gaps), key=lambda each: -abs(each[1]))
    unlike = [(uid, 1.0) for uid, one, other in named if one != other]
    return Agreement(
        name, len(told), counts if found else None,
        sum(same) / len(same) if same else None,
        tuple((one, other) for _, one, other in gaps),
        tuple([each for each in most if each[1]] + unlike)[:MOST_DIFFERENT],
    )  # fmt: skip
