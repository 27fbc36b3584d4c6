"""What a bundle can do on films it has not learned from, with intervals and controls.

Every figure has a 95 % bootstrap interval over *patients*, since films of one patient are not
independent. The controls tell how much of a figure is knowledge of the source of a film.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.analysis.calibration import probabilities
from dicom_node.bundles import EVALUATION, Bundle, load_network, open_bundle
from dicom_node.imaging.prepare import InputContract, prepare
from dicom_node.training import metrics
from dicom_node.training.data import Case, labels_of, of_split, read_cases, read_film

REPEATS = 1000
Figure = Callable[[metrics.Labels, metrics.Probabilities], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval; ``None`` where the films cannot give it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Control:
    """A check for short cuts: what was asked, of how many films, and the answer."""

    question: str
    films: int
    balanced_accuracy: Interval
    auc: Interval | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source of films: how many of each true class, and how many of each were named."""

    source: str
    films: Mapping[str, int]
    correct: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one bundle on one split; the JSON form is ``evaluation.json``.

    ``confusion``: row = true class, column = named class. ``curves``: for each class the ROC as
    [false positive part, true positive part] pairs.
    """

    bundle: str
    version: str
    weights: str
    split: str
    classes: tuple[str, ...]
    films: int
    patients: int
    overall: Mapping[str, Interval]
    by_class: Mapping[str, Mapping[str, Interval]]
    confusion: tuple[tuple[int, ...], ...]
    abstention: Mapping[str, float]
    by_source: tuple[SourceRow, ...]
    controls: Mapping[str, Control]
    reliability: tuple[tuple[float, float, int], ...]
    curves: Mapping[str, tuple[tuple[float, float], ...]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, numbers rounded to four decimals."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded


def evaluate(bundle_id: str, data: Path, models: Path, split: str = "test") -> Evaluation:
    """Return the figures of ``models/<bundle_id>`` on one split of ``data``.

    Raises `BundleError` leaves and `TrainingError`.
    """
    bundle = open_bundle(models, bundle_id)
    cases = of_split(read_cases(data, bundle.classes), split)
    network = load_network(bundle)
    temperature = bundle.manifest.calibration.temperature
    found = probabilities(logits_of(network, cases, bundle.contract), temperature)
    blind = probabilities(logits_of(network, cases, bundle.contract, change=only_rim), temperature)
    return figures(bundle, split, cases, found, blind)


def logits_of(
    network: Any,
    cases: Sequence[Case],
    contract: InputContract,
    change: Callable[[Any], Any] = lambda grid: grid,
) -> metrics.Probabilities:
    """Return the network's logits, float64, (films, classes); ``change`` alters the input grid."""
    logits = []
    for start in range(0, len(cases), 16):
        grids = [
            change(prepare(read_film(case.path), contract)[0]) for case in cases[start : start + 16]
        ]
        logits.append(np.asarray(network.predict_on_batch(np.stack(grids)), dtype=np.float64))
    return np.concatenate(logits)


def only_rim(grid: Any) -> Any:
    """Grey out the central 80 % × 76 % of a grid, so that almost no lung is left."""
    rows, columns = grid.shape[:2]
    top, left = round(rows * 0.10), round(columns * 0.12)
    hidden = grid.copy()
    hidden[top : rows - top, left : columns - left] = grid.mean()
    return hidden


def figures(
    bundle: Bundle,
    split: str,
    cases: Sequence[Case],
    found: metrics.Probabilities,
    blind: metrics.Probabilities,
) -> Evaluation:
    """Return every figure; ``found`` are the probabilities, ``blind`` those of the rim alone."""
    classes = bundle.classes
    labels = labels_of(cases, classes)
    draw = _Bootstrap([case.patient for case in cases])
    return Evaluation(
        bundle=bundle.id,
        version=bundle.manifest.version,
        weights=bundle.manifest.weights.digest,
        split=split,
        classes=classes,
        films=len(cases),
        patients=len({case.patient for case in cases}),
        overall=_overall(labels, found, draw),
        by_class={
            name: _of_class(index, labels, found, draw) for index, name in enumerate(classes)
        },
        confusion=tuple(tuple(map(int, row)) for row in metrics.confusion_matrix(labels, found)),
        abstention=_abstention(labels, found, bundle.threshold),
        by_source=_by_source(cases, found, classes),
        controls=_controls(cases, labels, found, blind, classes),
        reliability=metrics.reliability(labels, found),
        curves={
            name: metrics.roc_points(labels == index, found[:, index])
            for index, name in enumerate(classes)
        },
    )


class _Bootstrap:
    """Repeated draws of patients, the same for every figure."""

    def __init__(self, patients: Sequence[str]) -> None:
        _, group = np.unique(np.asarray(patients), return_inverse=True)
        members = [np.flatnonzero(group == k) for k in range(group.max() + 1)]
        chance = np.random.default_rng(2020)
        self._draws = [
            np.concatenate([members[k] for k in chance.integers(0, len(members), len(members))])
            for _ in range(REPEATS)
        ]

    def __call__(
        self, figure: Figure, labels: metrics.Labels, found: metrics.Probabilities
    ) -> Interval:
        value = figure(labels, found)
        values = np.array([figure(labels[draw], found[draw]) for draw in self._draws])
        values = values[~np.isnan(values)]
        if np.isnan(value) or not len(values):
            return Interval(None, None, None)
        low, high = np.quantile(values, (0.025, 0.975))
        return Interval(float(value), float(low), float(high))


def _overall(
    labels: metrics.Labels, found: metrics.Probabilities, draw: _Bootstrap
) -> dict[str, Interval]:
    named: dict[str, Figure] = {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
        "auc": lambda truth, stated: float(np.mean(metrics.areas_under_curve(truth, stated))),
        "log_loss": metrics.balanced_log_loss,
        "calibration_error": metrics.expected_calibration_error,
    }
    return {name: draw(figure, labels, found) for name, figure in named.items()}


def _of_class(
    index: int, labels: metrics.Labels, found: metrics.Probabilities, draw: _Bootstrap
) -> dict[str, Interval]:
    named: dict[str, Figure] = {
        "sensitivity": lambda truth, stated: metrics.sensitivities(truth, stated)[index],
        "ppv": lambda truth, stated: metrics.positive_predictive_values(truth, stated)[index],
        "auc": lambda truth, stated: metrics.area_under_curve(truth == index, stated[:, index]),
    }
    return {name: draw(figure, labels, found) for name, figure in named.items()}


def _abstention(
    labels: metrics.Labels, found: metrics.Probabilities, threshold: float
) -> dict[str, float]:
    answered = found.max(axis=1) >= threshold
    return {
        "threshold": threshold,
        "answered": float(answered.mean()),
        "accuracy_of_answered": metrics.accuracy(labels[answered], found[answered]),
        "accuracy_of_abstained": metrics.accuracy(labels[~answered], found[~answered]),
    }


def _by_source(
    cases: Sequence[Case], found: metrics.Probabilities, classes: Sequence[str]
) -> tuple[SourceRow, ...]:
    named = [classes[index] for index in found.argmax(axis=1)]
    rows = []
    for source in sorted({case.source for case in cases}):
        own = [(c.finding, n) for c, n in zip(cases, named, strict=True) if c.source == source]
        rows.append(
            SourceRow(
                source,
                {name: sum(true == name for true, _ in own) for name in classes},
                {name: sum(true == said == name for true, said in own) for name in classes},
            )
        )
    return tuple(rows)


def _controls(
    cases: Sequence[Case],
    labels: metrics.Labels,
    found: metrics.Probabilities,
    blind: metrics.Probabilities,
    classes: Sequence[str],
) -> dict[str, Control]:
    """Ask what the source of a film cannot answer, and what the lungs alone can."""
    everyone = _Bootstrap([case.patient for case in cases])
    controls = {
        "rim_only": Control(
            "All films with the central 80 % × 76 % greyed out (chance is 0.33)",
            len(cases),
            everyone(metrics.balanced_accuracy, labels, blind),
            None,
        )
    }
    pairs = (
        ("nih", "NIH ChestX-ray8", "normal", "pneumonia"),
        ("cohen", "covid-chestxray-dataset (Cohen et al.)", "pneumonia", "covid19"),
    )
    for key, source, negative, positive in pairs:
        chosen = [
            i
            for i, c in enumerate(cases)
            if c.source == source and c.finding in (negative, positive)
        ]
        if {cases[i].finding for i in chosen} != {negative, positive}:
            continue
        columns = [classes.index(negative), classes.index(positive)]
        two = found[np.ix_(chosen, columns)]
        two = two / two.sum(axis=1, keepdims=True)
        truth = (labels[chosen] == columns[1]).astype(np.int64)
        draw = _Bootstrap([cases[i].patient for i in chosen])
        controls[key] = Control(
            f"{positive} against {negative}, both from {source} (chance is 0.5)",
            len(chosen),
            draw(metrics.balanced_accuracy, truth, two),
            draw(lambda t, p: metrics.area_under_curve(t == 1, p[:, 1]), truth, two),
        )
    return controls


def write_evaluation(evaluation: Evaluation, models: Path) -> Path:
    """Write ``evaluation.json``, the figures and the card's tables into the bundle.

    Returns the path of ``evaluation.json``.
    """
    from dicom_node.training.card import update_card
    from dicom_node.training.plots import draw_figures

    folder = models / evaluation.bundle
    path = folder / EVALUATION
    path.write_text(json.dumps(evaluation.to_json(), indent=1) + "\n", encoding="utf8")
    draw_figures(evaluation, folder / "figures")
    update_card(folder)
    return path


def _rounded(value: Any) -> Any:
    """Return the same structure with floats of four decimals and no NaN."""
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
