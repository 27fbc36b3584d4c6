"""Sorting films into classes: the detection networks and the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.calibration import probabilities
from dicom_node.chest import FINDING_CLASSES
from dicom_node.imaging.lungs import Lungs
from dicom_node.networks.registry import build
from dicom_node.training.datasets.cases import (
    Case,
    Data,
    labels_of,
    load_films,
    of_split,
    read_cases,
)
from dicom_node.training.datasets.found_lungs import lungs_of_cases
from dicom_node.training.metrics import area_under_curve, balanced_accuracy, balanced_log_loss
from dicom_node.training.teaching.batches import Batch, batches, draws
from dicom_node.training.teaching.initial import load_initial
from dicom_node.training.teaching.lessons.lesson import Check
from dicom_node.training.teaching.recipe import Recipe

OTHER = "other"


@dataclass(slots=True)
class _Films:
    """The films of one split, prepared once for one input size."""

    cases: Sequence[Case]
    recipe: Recipe
    lungs: Mapping[str, Lungs] | None
    size: int = 0
    pixels: npt.NDArray[np.float16] = field(default_factory=lambda: np.empty(0, np.float16))

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices, (films,)."""
        return labels_of(self.cases, self.recipe.class_names)

    def at(self, size: int) -> npt.NDArray[np.float16]:
        """Return all films at that size, float16 in [0, 1], (films, size, size)."""
        if size != self.size:
            self.pixels = load_films(self.cases, self.recipe.input.contract(size), self.lungs)
            self.size = size
        return self.pixels


class ClassLesson:
    """Films of the recipe's classes, as many of each in every batch."""

    chosen_by = "balanced log loss"

    def __init__(self, recipe: Recipe, data: Data, models: Path) -> None:
        self.recipe, self._models = recipe, models
        cases = cases_of(recipe, data)
        lungs = lungs_of_cases(cases, recipe.input.lungs, models)
        self._taught = _Films(of_split(cases, "train"), recipe, lungs)
        self._checked = _Films(of_split(cases, "val"), recipe, lungs)

    def network(self) -> Any:
        """Return the network for films of any size, with its initial weights if it has some."""
        network = build(
            self.recipe.network, rows=None, columns=None, channels=self.recipe.input.channels,
            classes=len(self.recipe.class_names), dropout=self.recipe.dropout,
            **self.recipe.options,
        )  # fmt: skip
        load_initial(network, self.recipe.initial, self._models)
        return network

    def losses(self) -> dict[str, Any]:
        """Return the cross-entropy with label smoothing."""
        import keras

        smoothing = self.recipe.label_smoothing
        return {
            "loss": keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=smoothing
            )
        }

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return max(1, self.recipe.films_per_epoch // self.recipe.phase_of(epoch)[0].batch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0)."""
        films = self._taught.at(self.recipe.phase_of(epoch)[0].size)
        order = draws(self._taught.cases, self.recipe, epoch)
        return batches(films, self._taught.labels, order, self.recipe, epoch)

    def check(self, network: Any, size: int) -> Check:
        """Return the balanced log loss on ``val`` in nats, with it, balanced accuracy and AUC."""
        films, channels = self._checked.at(size), self.recipe.input.channels
        logits = [
            network.predict_on_batch(
                np.repeat(films[start : start + 16, :, :, None].astype(np.float32), channels, -1)
            )
            for start in range(0, len(films), 16)
        ]
        found, labels = probabilities(np.concatenate(logits), 1.0), self._checked.labels
        areas = [area_under_curve(labels == k, found[:, k]) for k in range(found.shape[1])]
        figures = {
            "log loss": balanced_log_loss(labels, found),
            "balanced accuracy": balanced_accuracy(labels, found),
            "AUC": float(np.mean(areas)),
        }
        return figures["log loss"], figures


def cases_of(recipe: Recipe, data: Data) -> tuple[Case, ...]:
    """Return the films of the recipe's classes; with ``positive``, all others are ``other``."""
    return relabelled(data, recipe.class_names, recipe.classes)


def relabelled(
    data: Data, classes: Sequence[str], findings: Sequence[str] = FINDING_CLASSES
) -> tuple[Case, ...]:
    """Return the films of these findings, each with its class for a network of ``classes``.

    A finding that is no class of the network is ``other``; `Case.stated_finding` keeps it.
    """
    return tuple(
        case
        if case.finding in classes
        else replace(case, finding=OTHER, stated_finding=case.finding)
        for case in read_cases(data, findings)
    )
