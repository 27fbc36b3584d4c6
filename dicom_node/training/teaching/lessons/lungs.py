"""Outlining the lungs: the segmentation network.

Two conventions of drawing are mixed in the table. What is wanted is the outline *behind* the
heart, as the sources of nearly all diseased films draw it. Where a source leaves the heart out
(all of them normal films), what lies between the lungs is not asked for: otherwise the outline
itself would tell normal films from diseased ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.networks.registry import build
from dicom_node.training.datasets.cases import (
    Case,
    Data,
    load_films,
    load_masks,
    of_split,
    read_cases,
)
from dicom_node.training.metrics import dice
from dicom_node.training.teaching.augment import draw_placement, moved, retouched
from dicom_node.training.teaching.batches import Batch, ahead
from dicom_node.training.teaching.lessons.lesson import Check
from dicom_node.training.teaching.recipe import Recipe

EXCLUDING_HEART = "lung_fields_excluding_heart"
Half = npt.NDArray[np.float16]


class LungLesson:
    """Every film with a drawn mask once an epoch."""

    chosen_by = "1 - Dice"

    def __init__(self, recipe: Recipe, data: Data) -> None:
        self.recipe = recipe
        cases = [case for case in read_cases(data) if case.mask is not None]
        self._contract = recipe.input.contract(recipe.phases[-1].size)
        self._films, self._targets = self._load(of_split(cases, "train"))
        drawn_behind_heart = [c for c in cases if c.mask_convention != EXCLUDING_HEART]
        self._val_films, self._val_targets = self._load(of_split(drawn_behind_heart, "val"))

    def _load(self, cases: Sequence[Case]) -> tuple[Half, Half]:
        """Return films and targets; a target of -1 is not asked for."""
        films = load_films(cases, self._contract)
        masks = load_masks(cases, films.shape[1:])
        for index, case in enumerate(cases):
            if case.mask_convention == EXCLUDING_HEART:
                masks[index][between_lungs(masks[index] > 0.5)] = -1
        return films, masks

    def network(self) -> Any:
        """Return the untrained network."""
        return build(
            self.recipe.network, rows=None, columns=None, channels=self.recipe.input.channels,
            dropout=self.recipe.dropout,
        )  # fmt: skip

    def losses(self) -> dict[str, Any]:
        """Return cross-entropy plus 1 - Dice over the places that are asked for."""
        return {"loss": lung_loss}

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has; films that do not fill one wait."""
        return len(self._films) // self.recipe.phase_of(epoch)[0].batch

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the epoch's batches, films and masks moved together."""
        batch = self.recipe.phase_of(epoch)[0].batch
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self._films))

        def make(step: int) -> Batch:
            pairs = [
                self._example(index, np.random.default_rng([self.recipe.seed, epoch, step, slot]))
                for slot, index in enumerate(order[step * batch : (step + 1) * batch])
            ]
            films, targets = zip(*pairs, strict=True)
            return Batch(np.stack(films)[..., None], np.stack(targets)[..., None])

        return ahead(make, self.steps(epoch))

    def _example(self, index: int, chance: np.random.Generator) -> tuple[Any, Any]:
        how = self.recipe.augmentation
        film = self._films[index].astype(np.float32)
        target = self._targets[index].astype(np.float32)
        placement = draw_placement(film.shape, how, chance)
        asked = moved((target >= 0).astype(np.float32), placement) > 0.99
        inside = moved(np.ones_like(film), placement) > 0
        target = np.where(asked | ~inside, moved(np.maximum(target, 0), placement), -1)
        return retouched(moved(film, placement), how, chance), target.astype(np.float32)

    def check(self, network: Any, _size: int) -> Check:
        """Return 1 - mean Dice on ``val`` (films drawn behind the heart), and the mean Dice."""
        found = [
            network.predict_on_batch(
                np.asarray(self._val_films[start : start + 16, ..., None], np.float32)
            )[..., 0]
            for start in range(0, len(self._val_films), 16)
        ]
        pairs = zip(np.concatenate(found) > 0, self._val_targets > 0.5, strict=True)
        mean = float(np.mean([dice(drawn, said) for said, drawn in pairs]))
        return 1 - mean, {"Dice": mean}


def between_lungs(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return what lies, row by row, between the outer edges of the lungs and is no lung."""
    from_left = np.logical_or.accumulate(mask, axis=1)
    from_right = np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(from_left & from_right & ~mask)


def lung_loss(target: Any, logits: Any) -> Any:
    """Return a loss a film, (batch,): mean cross-entropy + 1 - soft Dice; targets below 0 aside."""
    from keras import ops

    asked = ops.cast(target >= 0, logits.dtype)
    drawn = ops.maximum(target, 0)
    entropy = ops.maximum(logits, 0) - logits * drawn + ops.log1p(ops.exp(-ops.abs(logits)))
    entropy = ops.sum(entropy * asked, axis=(1, 2, 3)) / ops.sum(asked, axis=(1, 2, 3))
    found = ops.sigmoid(logits) * asked
    shared = 2 * ops.sum(found * drawn, axis=(1, 2, 3))
    total = ops.sum(found, axis=(1, 2, 3)) + ops.sum(drawn * asked, axis=(1, 2, 3))
    return entropy + 1 - (shared + 1) / (total + 1)
