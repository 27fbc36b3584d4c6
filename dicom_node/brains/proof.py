"""Whether an engine may answer: what it says of the self-test film is what Keras says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_node.brains import Answers, Brain
from dicom_node.brains.models import Model, function_of
from dicom_node.bundles import SELF_TEST, Bundle
from dicom_node.bundles.network import self_test_film, self_test_lungs, summary
from dicom_node.errors import BundleDamaged
from dicom_node.imaging.prepare import Float, prepare

_DARKER = 0.15
"""By how much each further film of a call is darker than the one before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of an engine in one call. ``films``: as `Brain.answer` takes them."""

    model: Model
    explain: bool
    films: Float

    @property
    def name(self) -> str:
        """The model and whether it is explained, fit for a file's name."""
        return function_of(self.model.id, explain=self.explain)


def questions(models: Iterable[Model]) -> tuple[Question, ...]:
    """Return every question that is ever asked of the models, of the self-test film.

    A model that is not explained is asked the same either way, and once here.
    """
    return tuple(
        Question(model, explain, _films(model, count))
        for model in models
        for explain in ((True, False) if model.explains else (False,))
        if (count := model.films_a_call(explain=explain))
    )


def _films(model: Model, count: int) -> Float:
    film, _ = prepare(self_test_film(), model.contract, self_test_lungs())
    return np.stack([film * np.float32(1.0 - _DARKER * place) for place in range(count)])


@dataclass(frozen=True, slots=True)
class Deviation:
    """By how much an answer is off, and how far it may be."""

    network: str
    output: str
    off_by: float
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether that is little enough; NaN never is."""
        return self.off_by <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.network}: {self.output} is off by {self.off_by:.4g}"
            f" (tolerance {self.tolerance:.4g})"
        )


def answers(brain: Brain, asked: Sequence[Question]) -> dict[str, Answers]:
    """Return a brain's answers by the names of the questions. Raises as the brain."""
    return {one.name: brain.answer(one.model.id, one.films, explain=one.explain) for one in asked}


def deviations(
    asked: Sequence[Question], expected: Mapping[str, Answers], found: Mapping[str, Answers]
) -> tuple[Deviation, ...]:
    """Return by how much each answer is off, the worst (of its tolerance) first.

    Values are compared as `dicom_node.bundles.network` compares them with a bundle's self-test: as
    they are, maps by the means of their parts, and within the tolerance that is stored there.
    """
    tolerances = {
        bundle.id: tolerance_of(bundle) for question in asked for bundle in question.model.bundles
    }
    every = [
        _deviation(name, expected[question.name][name], found[question.name].get(name), tolerances)
        for question in asked
        for name in expected[question.name]
    ]
    return tuple(sorted(every, key=lambda one: one.off_by / one.tolerance, reverse=True))


def _deviation(
    name: str, wanted: Float, got: Float | None, tolerances: Mapping[str, float]
) -> Deviation:
    network, _, output = name.rpartition("/")
    if got is None or got.shape != wanted.shape or not np.isfinite(got).all():
        return Deviation(network, output, float("inf"), tolerances[network])
    off = max(
        float(np.max(np.abs(summary(one) - summary(other))))
        for one, other in zip(got, wanted, strict=True)
    )
    return Deviation(network, output, off, tolerances[network])


def tolerance_of(bundle: Bundle) -> float:
    """Return how far an answer may be off. Raises `BundleDamaged` without a self-test."""
    try:
        stored = json.loads((bundle.folder / SELF_TEST).read_text(encoding="utf8"))
        return float(stored["tolerance"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise BundleDamaged(f"Bundle {bundle.id}: {SELF_TEST} cannot be read.") from fault
