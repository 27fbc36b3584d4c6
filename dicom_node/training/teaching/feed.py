"""Which films a step shows, drawn so that no source and no class drowns the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def draw_weights(groups: npt.NDArray[Any], exponent: float) -> npt.NDArray[np.float64]:
    """Return each film's chance, (films,), sum 1: that of its group, shared equally.

    A group of n films is drawn in proportion to n to the power ``exponent`` (1: every film equally
    often, 0: every group equally often).
    """
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = counts[index] ** (exponent - 1.0)
    return np.asarray(weights / weights.sum())


class DrawnFilms(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches drawn with replacement; all random choices follow from (seed, epoch, step).

    ``inputs`` and ``targets``: arrays of all films by name, uint8 or float32, films first;
    ``films``: the indices that may be drawn, with their ``weights``.
    """

    def __init__(
        self, inputs: Arrays, targets: Arrays, films: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64], *, batch: int, steps: int, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(workers=4, use_multiprocessing=False, max_queue_size=16)
        self._inputs, self._targets = inputs, targets
        self._films, self._weights = films, weights / weights.sum()
        self._batch, self._steps, self._seed, self._epoch = batch, steps, seed, 0

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        chance = np.random.default_rng([self._seed, self._epoch, step])
        chosen = np.sort(chance.choice(self._films, self._batch, p=self._weights))
        chance.shuffle(chosen)
        return (
            {name: values[chosen] for name, values in self._inputs.items()},
            {name: values[chosen] for name, values in self._targets.items()},
        )

    def on_epoch_end(self) -> None:
        """Draw others in the next epoch."""
        self._epoch += 1
