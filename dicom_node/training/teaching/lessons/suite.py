"""Findings and severity at once: one trunk that serves both.

Every batch holds as many films of each class, as for a detection network alone, and some graded
films more. A film teaches whatever it is labelled with: its finding, both extents, six zones, the
airspace level, drawn opacities. Targets below 0 are unknown and count nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.networks.covidnet_lite import SHARED
from dicom_node.networks.registry import build
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import (
    Case,
    Data,
    labels_of,
    of_split,
    read_boxes,
    read_film,
)
from dicom_node.training.datasets.found_lungs import lungs_of_cases
from dicom_node.training.teaching.augment import draw_placement, moved, retouched
from dicom_node.training.teaching.batches import Batch, ahead, draws
from dicom_node.training.teaching.initial import load_initial
from dicom_node.training.teaching.lessons.classes import cases_of
from dicom_node.training.teaching.lessons.lesson import Check
from dicom_node.training.teaching.lessons.severity import (
    LOSS_WEIGHTS,
    SCORES,
    blended,
    one_hot,
    severity_errors,
    severity_losses,
    severity_network,
)
from dicom_node.training.teaching.recipe import Recipe
from dicom_node.training.teaching.severity_data import (
    MIRRORED_ZONES,
    UNKNOWN,
    cells_of,
    extent_of,
    is_labelled,
    level_of,
    opaque_of,
    zones_of,
)

NORMAL_PART = 0.25
"""How often a normal film teaches that there is no severity; always would drown the graded ones."""

LEAST_MIXTURE = 0.1


class SuiteLesson:
    """The recipe's classes with the severity that their films are graded with."""

    chosen_by = "log loss and extent errors"

    def __init__(self, recipe: Recipe, data: Data, models: Path) -> None:
        self.recipe = recipe
        cases = cases_of(recipe, data)
        lungs = lungs_of_cases(cases, recipe.input.lungs, models) or {}
        boxes = read_boxes(data)
        self._taught, self._checked = of_split(cases, "train"), of_split(cases, "val")
        size = recipe.phases[-1].size
        self._films, self._opaque = self._load(self._taught, lungs, boxes, size)
        self._val_films, _ = self._load(self._checked, lungs, {}, size)
        self._labels = labels_of(self._taught, recipe.class_names)
        graded = [i for i, c in enumerate(self._taught) if is_labelled(c) or c.image_id in boxes]
        rare = [i for i in graded if self._taught[i].airspace_level == 1]
        self._graded = np.array(graded + rare * 2, dtype=np.int64)

    def _load(
        self,
        cases: Sequence[Case],
        lungs: Mapping[str, Lungs],
        boxes: Mapping[str, Any],
        size: int,
    ) -> tuple[npt.NDArray[np.float16], list[Float | None]]:
        """Return prepared films, (films, size, size), and what was drawn as opaque on each."""
        contract = self.recipe.input.contract(size)
        films = np.empty((len(cases), size, size), dtype=np.float16)
        opaque: list[Float | None] = []
        for index, case in enumerate(cases):
            film = read_film(case.path)
            grid, region = prepare(film, contract, lungs[case.image_id])
            films[index] = grid[:, :, 0]
            drawn = boxes.get(case.image_id, ())
            opaque.append(opaque_of(case, film.shape, region, drawn, contract))
        return films, opaque

    @property
    def checked_films(self) -> npt.NDArray[np.float16]:
        """The prepared films of the split ``val``, (films, size, size)."""
        return self._val_films

    def network(self) -> Any:
        """Return detection and severity as one network, with its initial weights."""
        network = suite_network(self.recipe)
        load_initial(network, self.recipe.initial)
        load_initial(network.get_layer("severity").get_layer("covidnet_cxr_s"), self.recipe.initial)
        return network

    def losses(self) -> dict[str, Any]:
        """Return the losses by output and their weights."""
        return {
            "loss": {"finding": self._finding_loss, **severity_losses()},
            "loss_weights": {"finding": 1.0, **LOSS_WEIGHTS},
        }

    def _finding_loss(self, target: Any, logits: Any) -> Any:
        """Return the cross-entropy with label smoothing, (batch,); all zero counts nothing."""
        from keras import ops

        smoothing, classes = self.recipe.label_smoothing, len(self.recipe.class_names)
        weight = ops.sum(target, axis=-1, keepdims=True)
        wanted = target * (1 - smoothing) + weight * smoothing / classes
        return -ops.sum(wanted * ops.log_softmax(logits, axis=-1), axis=-1)

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return max(1, self.recipe.films_per_epoch // self.recipe.phase_of(epoch)[0].batch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0)."""
        order = draws(self._taught, self.recipe, epoch)
        mixup = self.recipe.phase_of(epoch)[0].mixup

        def make(step: int) -> Batch:
            chance = np.random.default_rng([self.recipe.seed, epoch, step, 10_000])
            more = chance.choice(self._graded, size=self.recipe.severity_films, replace=False)
            films = np.concatenate([order[step], more])
            examples = [
                self._example(
                    index, np.random.default_rng([self.recipe.seed, epoch, step, slot]),
                    finding=slot < len(order[step]),
                )
                for slot, index in enumerate(films)
            ]  # fmt: skip
            return _mixed(examples, mixup, chance)

        return ahead(make, len(order))

    def _example(
        self, index: int, chance: np.random.Generator, *, finding: bool
    ) -> tuple[Float, dict[str, Any]]:
        """Return one film, changed at random, and its targets by output."""
        case, how = self._taught[index], self.recipe.augmentation
        film = self._films[index].astype(np.float32)
        placement = draw_placement(film.shape, how, chance)
        shown = retouched(moved(film, placement), how, chance)
        opaque, zones = self._opaque[index], zones_of(case)
        if placement.mirrored:
            zones = tuple(zones[k] for k in MIRRORED_ZONES)
        targets = {
            "finding": one_hot(self._labels[index] if finding else -1, 3),
            "airspace": one_hot(level_of(case), 3),
            "zones": np.array(zones, dtype=np.float32),
            "opacity": cells_of(None if opaque is None else moved(opaque, placement))[..., None],
        } | {name: np.array([extent_of(case, name)], dtype=np.float32) for name in SCORES}
        if case.finding == "normal" and chance.random() > NORMAL_PART:
            for name in SCORES:
                targets[name][:] = UNKNOWN
            targets["zones"][:], targets["airspace"][:] = UNKNOWN, 0
        return shown, targets

    def check(self, network: Any, _size: int) -> Check:
        """Return log loss + a quarter of both extents' mean absolute errors, with the figures."""
        found = predicted(network, self._val_films, self.recipe.input.channels)
        labels = labels_of(self._checked, self.recipe.class_names)
        stated = np.exp(found["finding"] - found["finding"].max(axis=1, keepdims=True))
        stated = stated / stated.sum(axis=1, keepdims=True)
        figures = {
            "log loss": metrics.balanced_log_loss(labels, stated),
            "balanced accuracy": metrics.balanced_accuracy(labels, stated),
            **severity_errors(self._checked, found),
        }
        return figures["log loss"] + 0.25 * sum(figures[name] for name in SCORES), figures


def suite_network(recipe: Recipe) -> Any:
    """Return the detection network with the severity networks on its shared layer."""
    import keras

    contract = recipe.input.contract(recipe.phases[-1].size)
    finding = build(
        recipe.network, rows=contract.rows, columns=contract.columns, channels=contract.channels,
        classes=len(recipe.class_names), dropout=recipe.dropout,
    )  # fmt: skip
    severity = severity_network(recipe.dropout)
    outputs = severity(finding.get_layer(SHARED).output)
    return keras.Model(finding.input, {"finding": finding.output, **outputs}, name="suite")


def predicted(network: Any, films: npt.NDArray[Any], channels: int) -> dict[str, Any]:
    """Return all outputs for prepared films (films, rows, columns), float64, by name."""
    parts = [
        network.predict_on_batch(
            np.repeat(films[start : start + 16, :, :, None].astype(np.float32), channels, -1)
        )
        for start in range(0, len(films), 16)
    ]
    return {
        name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]
    }


def _mixed(
    examples: Sequence[tuple[Float, dict[str, Any]]], mixup: float, chance: np.random.Generator
) -> Batch:
    """Return the batch, some films mixed with another; a film is never the lesser part."""
    films = np.stack([film for film, _ in examples])
    targets = {name: np.stack([t[name] for _, t in examples]) for name in examples[0][1]}
    if mixup:
        other = chance.permutation(len(films))
        part = chance.beta(mixup, mixup, size=len(films)).astype(np.float32)
        part = np.minimum(part, 1 - part)
        part[part < LEAST_MIXTURE] = 0.0
        films = films + part[:, None, None] * (films[other] - films)
        targets = {name: blended(values, other, part) for name, values in targets.items()}
    return Batch(np.repeat(films[..., None], 3, axis=-1), targets)
