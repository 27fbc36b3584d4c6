"""What validation films decide: temperatures, offsets, thresholds, widths of intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from dicom_node.analysis.calibration import probabilities
from dicom_node.chest import FINDING_CLASSES
from dicom_node.training.datasets.words import APPEARANCES

Logits = npt.NDArray[np.float64]
_RIDGE = 0.002
"""How much an offset costs, so that classes with few films keep theirs near zero."""


@dataclass(frozen=True, slots=True)
class Scale:
    """``probabilities(logits, temperature, offsets)``; the first class's offset is 0."""

    temperature: float
    offsets: tuple[float, ...]


def shares(labels: npt.NDArray[np.int64], sources: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return each film's weight, (films,): classes alike, sources within a class by their root."""
    groups = np.array(
        [f"{label}|{source}" for label, source in zip(labels, np.asarray(sources), strict=True)]
    )
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = counts[index] ** -0.5
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].sum()
    return np.asarray(weights)


def fit_scale(
    logits: Logits, labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> Scale:
    """Return temperature and offsets with the least weighted log loss.

    ``logits``: (films, classes); ``labels``: class indices, (films,); ``weights``: (films,).
    """
    films = np.arange(len(labels))

    def loss(values: npt.NDArray[np.float64]) -> float:
        found = probabilities(logits, float(np.exp(values[0])), np.r_[0.0, values[1:]])
        truth = np.log(np.clip(found[films, labels], 1e-12, 1.0))
        return float(-(weights * truth).sum() / weights.sum() + _RIDGE * (values[1:] ** 2).sum())

    best = minimize(loss, np.zeros(logits.shape[1]), method="Nelder-Mead",
                    options={"maxiter": 4000}).x  # fmt: skip
    return Scale(round(float(np.exp(best[0])), 3), (0.0, *np.round(best[1:], 3).tolist()))


def fit_flag(
    logits: Logits, truth: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> Scale:
    """Return temperature and offset of a logistic output, (films,), by its weighted log loss."""
    both = fit_scale(np.stack([np.zeros_like(logits), logits], axis=-1), truth, weights)
    return Scale(both.temperature, both.offsets[1:])


@dataclass(frozen=True, slots=True)
class OperatingTarget:
    """What the operating point of the three classes must hold on films of other hospitals.

    ``alarms``: largest part of the films read as negative that may be called COVID-19 or pneumonia
    (counted by COVID-19 alone, alarms would only change their name); ``found``: least part of the
    typical ones that must be called COVID-19.
    """

    alarms: float = 0.10
    found: float = 0.80


def finding_scale(cases: Sequence[Any], logits: Logits) -> Scale:
    """Return the scale of the three classes on these films, where `OperatingTarget` is held.

    ``logits``: (films, 3). Without films that were read as negative, or without typical ones, there
    is nothing to hold, and the scale is that of `fit_scale`.
    """
    sources = np.array([case.source[:6] for case in cases])
    labels = np.array([
        FINDING_CLASSES.index(case.finding) if case.finding in FINDING_CLASSES else -1
        for case in cases
    ])  # fmt: skip
    three = labels >= 0
    weights = np.zeros(len(cases))
    weights[three] = shares(labels[three], sources[three])
    scale = fit_scale(logits[three], labels[three], weights[three])
    negative, typical = (
        np.array([case.appearance_class == name for case in cases]) for name in APPEARANCES[:2]
    )
    if not (negative.any() and typical.any()):
        return scale
    return operating_point(logits, labels, weights, scale, negative, typical)


def operating_point(
    logits: Logits, labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64],
    scale: Scale, negative: npt.NDArray[np.bool_], typical: npt.NDArray[np.bool_],
    wanted: OperatingTarget = OperatingTarget(),
) -> Scale:  # fmt: skip
    """Return the scale with the offsets of the last class, and then the second, moved.

    Of the moves that hold what is wanted the one with the best balanced accuracy of the three
    classes (``labels`` below 0: none of them); if none holds it, the one that misses by least.
    ``negative`` and ``typical``: which films were read so, (films,).
    """
    known = labels >= 0

    def value(offsets: tuple[float, ...]) -> tuple[float, float]:
        named = probabilities(logits, scale.temperature, offsets).argmax(axis=1)
        alarms = float((named[negative] != 0).mean())
        found = float((named[typical] == 2).mean())
        missed = max(0.0, alarms - wanted.alarms) + max(0.0, wanted.found - found)
        right = (named == labels)[known]
        return -missed, float((right * weights[known]).sum() / weights[known].sum())

    moves = [
        (0.0, round(scale.offsets[1] + second, 3), round(scale.offsets[2] + third, 3))
        for third in np.arange(-1.5, 0.51, 0.1) for second in np.arange(-0.6, 0.61, 0.1)
    ]  # fmt: skip
    return Scale(scale.temperature, max(moves, key=value))


def conformal(errors: npt.NDArray[np.float64], miss: float = 0.1) -> float:
    """Return the half width that covers 1 - ``miss`` of new films (split conformal), rounded up.

    The ⌈(n + 1)(1 − miss)⌉-th smallest of n absolute errors on films that taught nothing.
    """
    rank = min(len(errors), int(np.ceil((len(errors) + 1) * (1 - miss))))
    return float(np.ceil(np.sort(errors)[rank - 1] * 100) / 100)
