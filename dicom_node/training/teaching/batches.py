"""Which films an epoch shows, in which order, and made ready in the background.

Everything random follows from (seed, epoch, step, slot), so an epoch is the same whether or not
training was stopped before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.imaging.prepare import Float
from dicom_node.training.datasets.cases import Case
from dicom_node.training.teaching.augment import augmented
from dicom_node.training.teaching.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """``films``: float32 in [0, 1], (films, rows, columns, channels); ``targets``: what they teach.

    One-hot classes, or whatever the lesson's loss takes.
    """

    films: Float
    targets: Any


def draws(cases: Sequence[Case], recipe: Recipe, epoch: int) -> npt.NDArray[np.int64]:
    """Return indices into ``cases``, (steps, batch): every batch holds as many of each class.

    Within a class a film's chance is that of its source (``source_exponent``), shared equally.
    """
    phase, _ = recipe.phase_of(epoch)
    each = phase.batch // len(recipe.class_names)
    steps = max(1, recipe.films_per_epoch // phase.batch)
    chance = np.random.default_rng([recipe.seed, epoch])
    columns = [
        _draw_class(cases, name, recipe.source_exponent, steps * each, chance)
        for name in recipe.class_names
    ]
    return np.concatenate([column.reshape(steps, each) for column in columns], axis=1)


def _draw_class(
    cases: Sequence[Case], name: str, exponent: float, count: int, chance: np.random.Generator
) -> npt.NDArray[np.int64]:
    members = np.array([i for i, case in enumerate(cases) if case.finding == name])
    sizes = Counter(cases[i].source for i in members)
    weights = np.array([sizes[cases[i].source] ** (exponent - 1.0) for i in members])
    return chance.choice(members, size=count, p=weights / weights.sum()).astype(np.int64)


def batches(
    films: npt.NDArray[np.float16],
    labels: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    recipe: Recipe,
    epoch: int,
) -> Iterator[Batch]:
    """Yield the epoch's batches, augmented, the next one being made while one is used."""
    channels, classes = recipe.input.channels, len(recipe.class_names)

    def make(step: int) -> Batch:
        shown = [
            augmented(
                films[index].astype(np.float32),
                recipe.augmentation,
                np.random.default_rng([recipe.seed, epoch, step, slot]),
            )
            for slot, index in enumerate(order[step])
        ]
        targets = np.eye(classes, dtype=np.float32)[labels[order[step]]]
        pixels, targets = _mixed(np.stack(shown), targets, recipe, (epoch, step))
        return Batch(np.repeat(pixels[..., None], channels, axis=-1), targets)

    return ahead(make, len(order))


def ahead(make: Callable[[int], Batch], steps: int) -> Iterator[Batch]:
    """Yield ``make(0)``, ``make(1)``, …; the next one is made while one is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="augment") as worker:
        coming = worker.submit(make, 0)
        for step in range(steps):
            ready = coming.result()
            if step + 1 < steps:
                coming = worker.submit(make, step + 1)
            yield ready


def _mixed(
    films: Float, targets: Float, recipe: Recipe, place: tuple[int, int]
) -> tuple[Float, Float]:
    """Return every film mixed with another of the batch (Zhang et al., "mixup", ICLR 2018)."""
    mixup = recipe.phase_of(place[0])[0].mixup
    if not mixup:
        return films, targets
    chance = np.random.default_rng([recipe.seed, *place, len(films)])
    other = chance.permutation(len(films))
    part = chance.beta(mixup, mixup, size=len(films)).astype(np.float32)
    return (
        films + part[:, None, None] * (films[other] - films),
        targets + part[:, None] * (targets[other] - targets),
    )
