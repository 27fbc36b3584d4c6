"""A row of an evaluation: a figure of some answered films with its interval over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.chest import FINDING_CLASSES
from dicom_node.findings import FilmFindings
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case
from dicom_node.training.evaluation.bootstrap import Bootstrap

SIIM, UNSEEN, LEAST = "SIIM", "Pakistan", 60
Values = npt.NDArray[Any]
Answered = Sequence[tuple[Case, FilmFindings]]
Row = dict[str, Any]


def named(answered: Answered) -> Values:
    """Return the class that each film was given, "" where none was."""
    return np.array([
        "" if f.finding is None or f.finding.abstained else f.finding.finding_class
        for _, f in answered
    ])  # fmt: skip


def row(
    name: str, answered: Sequence[tuple[Case, Any]], figure: Callable[..., float], *arrays: Values
) -> Row:
    """Return a figure of these films with its interval."""
    again = Bootstrap([case.patient for case, _ in answered])
    return {"figure": name, "films": len(answered), **asdict(again(figure, *arrays))}


def mean(name: str, answered: Sequence[tuple[Case, Any]], values: Values) -> Row:
    """Return the mean of one value a film, (films,)."""
    return row(name, answered, np.mean, values)


def area(name: str, answered: Answered, positive: Values, scores: Values) -> Row:
    """Return the area under the ROC curve of scores, (films,)."""
    return row(name, answered, metrics.area_under_curve, positive, scores)


def probabilities(answered: Answered) -> Values:
    """Return the probabilities of the three classes, (films, 3)."""
    return np.array([
        [f.finding.probabilities[k] for k in FINDING_CLASSES] for _, f in answered if f.finding
    ])  # fmt: skip


def of_three(answered: Answered) -> list[tuple[Case, FilmFindings]]:
    """Return the films of the three classes that were given probabilities of them."""
    return [(c, f) for c, f in answered if c.finding in FINDING_CLASSES and f.finding]


def balanced(name: str, answered: Answered) -> Row:
    """Return the balanced accuracy of the likeliest class."""
    labels = np.array([FINDING_CLASSES.index(c.finding) for c, _ in answered])
    return row(name, answered, metrics.balanced_accuracy, labels, probabilities(answered))
