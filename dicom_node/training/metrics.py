"""Figures of a classifier: pure functions of labels and probabilities.

``labels`` are class indices, shape (films,); ``probabilities`` has the shape (films, classes) and
rows that sum to 1. A figure that the films cannot give (no film of a class) is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score, roc_curve

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]


def confusion_matrix(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """Return counts, shape (classes, classes): row = true class, column = named class."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the part of films whose class was named, in [0, 1]."""
    return float(np.mean(probabilities.argmax(axis=1) == labels)) if len(labels) else float("nan")


def sensitivities(labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return, for each class, the part of its films that was named so."""
    matrix = confusion_matrix(labels, probabilities)
    return [_ratio(matrix[k, k], matrix[k].sum()) for k in range(len(matrix))]


def positive_predictive_values(labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return, for each class, the part of the films named so that were of it."""
    matrix = confusion_matrix(labels, probabilities)
    return [_ratio(matrix[k, k], matrix[:, k].sum()) for k in range(len(matrix))]


def balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean sensitivity over the classes that occur, in [0, 1]."""
    found = [value for value in sensitivities(labels, probabilities) if not np.isnan(value)]
    return float(np.mean(found)) if found else float("nan")


def areas_under_curve(labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return each class's area under the ROC curve, that class against the rest."""
    return [
        area_under_curve(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])
    ]


def area_under_curve(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """Return the probability that a positive film scores above a negative one."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores))


def area_over_all(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """Return the area under the ROC curve of all places of all films, (films, places), at once."""
    return area_under_curve(positive.ravel(), scores.ravel())


def balanced_log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean over classes of the mean −ln(probability of the true class), in nats."""
    truth = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1.0)
    losses = [-np.log(truth[labels == k]).mean() for k in np.unique(labels)]
    return float(np.mean(losses))


def expected_calibration_error(
    labels: Labels, probabilities: Probabilities, bins: int = 10
) -> float:
    """Return the mean gap between stated and met probability of the named class, in [0, 1].

    Films are put into ``bins`` equal steps of the highest probability; each bin's gap
    |mean probability − accuracy| weighs as many films as it holds.
    """
    rows = reliability(labels, probabilities, bins)
    return float(sum(abs(stated - met) * films for stated, met, films in rows) / len(labels))


def reliability(
    labels: Labels, probabilities: Probabilities, bins: int = 10
) -> tuple[tuple[float, float, int], ...]:
    """Return (mean highest probability, accuracy, films) of each bin that holds films."""
    stated = probabilities.max(axis=1)
    met = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((stated * bins).astype(int), bins - 1)
    return tuple(
        (
            float(stated[bin_of == k].mean()),
            float(met[bin_of == k].mean()),
            int((bin_of == k).sum()),
        )
        for k in np.unique(bin_of)
    )


def net_benefit(
    positive: npt.NDArray[np.bool_], stated: npt.NDArray[np.float64], threshold: float
) -> float:
    """Return the net benefit of acting on films whose probability reaches a threshold below 1.

    True positives less false ones, these weighted by threshold / (1 − threshold), a film (Vickers
    and Elkin, Medical Decision Making 2006). To act on no film has a net benefit of 0.
    """
    acted = stated >= threshold
    right, wrong = float((acted & positive).sum()), float((acted & ~positive).sum())
    return (right - wrong * threshold / (1 - threshold)) / len(positive)


def roc_points(
    positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Return the ROC curve as (false positive part, true positive part) pairs, if any."""
    if positive.all() or not positive.any():
        return ()
    false, true, _ = roc_curve(positive, scores)
    return tuple(zip(false.tolist(), true.tolist(), strict=True))


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def specificities(labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return, for each class, the part of the other films that was not named so."""
    matrix = confusion_matrix(labels, probabilities)
    others = [matrix.sum() - matrix[k].sum() for k in range(len(matrix))]
    wrong = [matrix[:, k].sum() - matrix[k, k] for k in range(len(matrix))]
    return [_ratio(all_ - w, all_) for all_, w in zip(others, wrong, strict=True)]


def f1_scores(labels: Labels, probabilities: Probabilities) -> list[float]:
    """Return, for each class, the harmonic mean of sensitivity and positive predictive value."""
    matrix = confusion_matrix(labels, probabilities)
    return [
        _ratio(2 * matrix[k, k], matrix[k].sum() + matrix[:, k].sum()) for k in range(len(matrix))
    ]


def geometric_mean_recall(labels: Labels, probabilities: Probabilities) -> float:
    """Return the geometric mean of the sensitivities of the classes that occur, in [0, 1]."""
    found = [value for value in sensitivities(labels, probabilities) if not np.isnan(value)]
    return float(np.prod(found) ** (1 / len(found))) if found else float("nan")


def mean_absolute_error(truth: Values, found: Values) -> float:
    """Return the mean of |truth - found|, in the unit of the score."""
    return float(np.abs(truth - found).mean()) if len(truth) else float("nan")


def r_squared(truth: Values, found: Values) -> float:
    """Return 1 - squared errors / squares about the mean of the truth; NaN if it does not vary."""
    spread = float(((truth - truth.mean()) ** 2).sum()) if len(truth) else 0.0
    return 1.0 - float(((truth - found) ** 2).sum()) / spread if spread > 0 else float("nan")


def correlation(truth: Values, found: Values) -> float:
    """Return Pearson's r; NaN where one of both does not vary."""
    if len(truth) < 2 or truth.std() == 0 or found.std() == 0:
        return float("nan")
    return float(np.corrcoef(truth, found)[0, 1])


def coverage(truth: Values, low: Values, high: Values) -> float:
    """Return the part of films whose truth lies within [low, high]."""
    return float(((truth >= low) & (truth <= high)).mean()) if len(truth) else float("nan")


def dice(drawn: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    """Return 2 |drawn ∩ found| / (|drawn| + |found|), in [0, 1]; 1 if both are empty."""
    total = int(drawn.sum()) + int(found.sum())
    return float(2 * (drawn & found).sum() / total) if total else 1.0


def intersection_over_union(drawn: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    """Return |drawn ∩ found| / |drawn ∪ found|, in [0, 1]; 1 if both are empty."""
    union = int((drawn | found).sum())
    return float((drawn & found).sum() / union) if union else 1.0
