"""Intervals by the bootstrap over patients: films of one patient are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

REPEATS = 1000
SEED = 2020


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval; ``None`` where the films cannot give it."""

    value: float | None
    low: float | None
    high: float | None


class Bootstrap:
    """Repeated draws of patients, the same for every figure.

    Called with a figure and its arrays, films first.
    """

    def __init__(self, patients: Sequence[str]) -> None:
        _, group = np.unique(np.asarray(patients), return_inverse=True)
        members = [np.flatnonzero(group == k) for k in range(group.max() + 1)]
        chance = np.random.default_rng(SEED)
        self._draws = [
            np.concatenate([members[k] for k in chance.integers(0, len(members), len(members))])
            for _ in range(REPEATS)
        ]

    def __call__(self, figure: Callable[..., float], *arrays: Any) -> Interval:
        """Return the figure of all films, with its 2.5th and 97.5th percentile over the draws.

        Draws that cannot give the figure (no film of a class) are left out.
        """
        value = figure(*arrays)
        values = np.array([figure(*(array[draw] for array in arrays)) for draw in self._draws])
        values = values[~np.isnan(values)]
        if np.isnan(value) or not len(values):
            return Interval(None, None, None)
        low, high = np.quantile(values, (0.025, 0.975))
        return Interval(float(value), float(low), float(high))
