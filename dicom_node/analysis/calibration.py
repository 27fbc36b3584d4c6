"""From logits to probabilities that can be believed: softmax with a temperature.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit


def probabilities(
    logits: npt.ArrayLike, temperature: float, offsets: npt.ArrayLike = 0.0
) -> npt.NDArray[np.float64]:
    """Return softmax(logits / temperature + offsets) over the last axis.

    float64 in [0, 1], sum 1; ``offsets``: one a class, or one for all.
    """
    values = np.asarray(logits, dtype=np.float64) / temperature + np.asarray(offsets, np.float64)
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def flags(
    logits: npt.ArrayLike, temperature: float, offsets: npt.ArrayLike = 0.0
) -> npt.NDArray[np.float64]:
    """Return the logistic function of logits / temperature + offsets, float64 in [0, 1]."""
    values = np.asarray(logits, dtype=np.float64) / temperature + np.asarray(offsets, np.float64)
    return np.asarray(expit(values))


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
