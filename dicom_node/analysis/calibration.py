"""From logits to probabilities that can be believed: softmax with a temperature.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar


def probabilities(logits: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """Return softmax(logits / temperature) over the last axis, float64 in [0, 1], sum 1."""
    values = np.asarray(logits, dtype=np.float64) / temperature
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def fit_temperature(logits: npt.ArrayLike, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature in [0.1, 10] with the lowest log loss.

    ``logits``: (films, classes); ``labels``: class indices, (films,). Every class weighs the same,
    whatever the number of its films.
    """
    scores = np.asarray(logits, dtype=np.float64)
    weight = 1.0 / np.bincount(labels, minlength=scores.shape[1])[labels]

    def loss(log_temperature: float) -> float:
        found = probabilities(scores, float(np.exp(log_temperature)))
        truth = np.clip(found[np.arange(len(labels)), labels], 1e-12, 1.0)
        return float(-(weight * np.log(truth)).sum())

    best = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(best.x))


def abstention_threshold(found: npt.NDArray[np.float64], unanswered: float = 0.1) -> float:
    """Return the probability below which the least sure part of the films lies.

    ``found``: (films, classes), calibrated; ``unanswered``: that part, in [0, 1]. Rounded to
    two decimals, as it is shown to people.
    """
    return round(float(np.quantile(found.max(axis=1), unanswered)), 2)
