"""Grading severity: zones, airspace level and both extents, taught together.

One upper half and its heads learn from whatever a film has: readers' extents (0-8), six zone
scores (0-3), drawn opacities and boxes (the part of each cell), and normal films as "none of it".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.networks.registry import build
from dicom_node.training.datasets.cases import Case
from dicom_node.training.teaching.batches import Batch, ahead
from dicom_node.training.teaching.lessons.lesson import Check
from dicom_node.training.teaching.recipe import Recipe
from dicom_node.training.teaching.severity_data import LEVELS, Examples, extent_of, level_of

SCORES = ("geographic_extent", "opacity_extent")
"""The outputs that are scores of 0-8, named as the columns of the table that teach them."""

LOSS_WEIGHTS = {"airspace": 0.5, "zones": 1.5, "opacity": 1.0} | dict.fromkeys(SCORES, 1.0)


class SeverityLesson:
    """Every labelled film once an epoch, level 1 three times, and some normal films."""

    chosen_by = "extent errors"

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        taught: npt.NDArray[np.int64],
        checked: npt.NDArray[np.int64],
        begin: Any,
    ) -> None:
        """``taught`` and ``checked``: indices of films; ``begin``: gives the network its start."""
        self.recipe = recipe
        self._examples, self._checked, self._begin = examples, checked, begin
        cases = examples.cases
        self._normal = np.array([i for i in taught if cases[i].finding == "normal"], np.int64)
        graded = [i for i in taught if cases[i].finding != "normal"]
        rare = [i for i in graded if cases[i].airspace_level == 1]
        self._graded = np.array(graded + rare * 2, dtype=np.int64)

    def network(self) -> Any:
        """Return the networks as one."""
        network = severity_network(self.recipe.dropout)
        self._begin(network)
        return network

    def losses(self) -> dict[str, Any]:
        """Return the losses by output and their weights."""
        return {"loss": severity_losses(), "loss_weights": LOSS_WEIGHTS}

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        chance = np.random.default_rng([self.recipe.seed, epoch])
        normal = chance.choice(
            self._normal, size=min(len(self._normal), len(self._graded) // 5), replace=False
        )
        return chance.permutation(np.concatenate([self._graded, normal]))

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has; films that do not fill one wait."""
        return len(self._order(epoch)) // self.recipe.phase_of(epoch)[0].batch

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0), each film in a variant drawn anew."""
        order, batch = self._order(epoch), self.recipe.phase_of(epoch)[0].batch

        def make(step: int) -> Batch:
            films = order[step * batch : (step + 1) * batch]
            chance = np.random.default_rng([self.recipe.seed, epoch, step])
            variants = chance.integers(0, self._examples.variants, len(films))
            made = self._batch(films, variants)
            return _mixed(made, self.recipe.phase_of(epoch)[0].mixup, chance)

        return ahead(make, self.steps(epoch))

    def _batch(self, films: npt.NDArray[np.int64], variants: Any) -> Batch:
        examples = self._examples
        rows = examples.rows_of(films, variants)
        cases = [examples.cases[i] for i in films]
        targets = {
            "airspace": np.array([one_hot(level_of(case), LEVELS) for case in cases], np.float32),
            "zones": examples.zones[rows],
            "opacity": examples.opacity[rows].astype(np.float32)[..., None],
        } | {
            name: np.array([[extent_of(case, name)] for case in cases], np.float32)
            for name in SCORES
        }
        return Batch(examples.features[rows].astype(np.float32), targets)

    def check(self, network: Any, _size: int) -> Check:
        """Return the sum of both extents' mean absolute errors, and figures by name."""
        found = answers(network, self._examples, self._checked)
        figures = severity_errors([self._examples.cases[i] for i in self._checked], found)
        return sum(figures[name] for name in SCORES), figures


def severity_losses() -> dict[str, Any]:
    """Return the losses by output; unknown targets count nothing."""
    return {
        "airspace": _level_loss,
        "zones": _known_error,
        "opacity": _opacity_loss,
    } | dict.fromkeys(SCORES, _known_error)


def _mixed(batch: Batch, mixup: float, chance: np.random.Generator) -> Batch:
    """Return every film's features mixed with another's, targets too (manifold mixup).

    Verma et al., ICML 2019. A target that is unknown for one of both is unknown for the mixture.
    """
    if not mixup:
        return batch
    other = chance.permutation(len(batch.films))
    part = chance.beta(mixup, mixup, size=len(other)).astype(np.float32)

    films = batch.films + part[:, None, None, None] * (batch.films[other] - batch.films)
    return Batch(
        films, {name: blended(values, other, part) for name, values in batch.targets.items()}
    )


def blended(values: Any, other: npt.NDArray[np.int64], part: npt.NDArray[np.float32]) -> Any:
    """Return targets mixed with those of ``other``; where ``part`` is 0 they stay as they are."""
    shape = (-1, *(1 for _ in values.shape[1:]))
    share = part.reshape(shape)
    mixed = values + share * (values[other] - values)
    unknown = (share > 0) & ((values < 0) | (values[other] < 0))
    return np.where(unknown, np.float32(-1), mixed).astype(np.float32)


def severity_network(dropout: float = 0.0) -> Any:
    """Return the three severity networks as one: shared features → five outputs."""
    import keras

    grading = build("covidnet-cxr-s", dropout=dropout)
    found = grading(grading.input)
    extents = {}
    for name in SCORES:
        scoring = build("covidnet-s", dropout=dropout)
        scoring.name = name
        extents[name] = scoring(found["zone_features"])["extent"]
    outputs = {name: found[name] for name in ("airspace", "zones", "opacity")} | extents
    return keras.Model(grading.input, outputs, name="severity")


def answers(network: Any, examples: Examples, films: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the network's outputs on unchanged films, float64, by name."""
    rows = examples.rows_of(films, 0)
    parts = [
        network.predict_on_batch(examples.features[rows[start : start + 32]].astype(np.float32))
        for start in range(0, len(rows), 32)
    ]
    return {
        name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]
    }


def severity_errors(cases: Sequence[Case], found: dict[str, Any]) -> dict[str, float]:
    """Return mean absolute errors of graded films: both extents (0-8) and the zones (0-3)."""
    figures = {}
    for name in SCORES:
        errors = [
            abs(getattr(case, name) - float(value))
            for case, value in zip(cases, found[name][:, 0], strict=True)
            if getattr(case, name) is not None
        ]
        figures[name] = float(np.mean(errors))
    zones = [
        np.abs(np.array(case.zones) - scores).mean()
        for case, scores in zip(cases, found["zones"], strict=True)
        if case.zones is not None
    ]
    return figures | {"zones": float(np.mean(zones)) if zones else float("nan")}


def one_hot(index: int, classes: int) -> npt.NDArray[np.float32]:
    """Return a row with a one at ``index``; all zero where that is negative: unknown."""
    row = np.zeros(classes, dtype=np.float32)
    if index >= 0:
        row[index] = 1.0
    return row


def _known_error(target: Any, found: Any) -> Any:
    """Return the mean smooth absolute error (Huber, 0.5) over known targets, (batch,)."""
    from keras import ops

    known = ops.cast(target >= 0, found.dtype)
    gap = ops.abs(found - target)
    error = ops.where(gap < 0.5, gap * gap, gap - 0.25)
    return ops.sum(error * known, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)


def _level_loss(target: Any, logits: Any) -> Any:
    """Return the cross-entropy, (batch,); a target without a one counts nothing."""
    from keras import ops

    return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)


def _opacity_loss(target: Any, logits: Any) -> Any:
    """Return the mean cross-entropy of the cells with known parts, (batch,)."""
    from keras import ops

    known = ops.cast(target >= 0, logits.dtype)
    drawn = ops.maximum(target, 0)
    entropy = ops.maximum(logits, 0) - logits * drawn + ops.log1p(ops.exp(-ops.abs(logits)))
    total = ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)
    return ops.sum(entropy * known, axis=(1, 2, 3)) / total
