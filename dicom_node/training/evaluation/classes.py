"""What a detection network can do on films it has not learned from, with intervals and controls.

The controls tell how much of a figure is knowledge of the source of a film.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.calibration import probabilities
from dicom_node.bundles import Bundle
from dicom_node.bundles.network import load_network
from dicom_node.findings import Region
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float
from dicom_node.resources import model_bundles
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, Data, labels_of, of_split
from dicom_node.training.datasets.found_lungs import lungs_of_cases
from dicom_node.training.evaluation.bootstrap import Bootstrap, Interval
from dicom_node.training.evaluation.head import Head, head_of
from dicom_node.training.metrics import Labels, Probabilities
from dicom_node.training.teaching.lessons.classes import OTHER, relabelled
from dicom_node.training.teaching.logits import Change, logits_of

Figure = Callable[[Labels, Probabilities], float]
CONTROL_LUNGS = "lung-unet"
MISTAKES = 10


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
class GroupRow:
    """Films of one projection or sex."""

    group: str
    films: int
    accuracy: Interval
    balanced_accuracy: Interval


@dataclass(frozen=True, slots=True)
class Mistake:
    """One film whose class the network got wrong, and how sure it was of the wrong one."""

    film: str
    source: str
    true: str
    named: str
    probability: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """The films' last features laid out in a plane by t-SNE; class and source by index."""

    points: tuple[tuple[float, float], ...]
    classes: tuple[int, ...]
    sources: tuple[int, ...]
    source_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassEvaluation:
    """All figures of one bundle on one split; the JSON form is ``evaluation.json``.

    ``confusion``: row = true class, column = named class. ``curves``: for each class the ROC as
    [false positive part, true positive part] pairs.
    """

    head: Head
    classes: tuple[str, ...]
    overall: Mapping[str, Interval]
    by_class: Mapping[str, Mapping[str, Interval]]
    confusion: tuple[tuple[int, ...], ...]
    abstention: Mapping[str, float]
    by_source: tuple[SourceRow, ...]
    by_view: tuple[GroupRow, ...]
    by_sex: tuple[GroupRow, ...]
    controls: Mapping[str, Control]
    reliability: tuple[tuple[float, float, int], ...]
    curves: Mapping[str, tuple[tuple[float, float], ...]]
    mistakes: tuple[Mistake, ...]
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class SplitAnswers:
    """What a network said about the films of a split.

    ``found``: probabilities, (films, classes); ``altered``: the same by the name of the control;
    ``features``: what the last layer decides from, (films, features).
    """

    found: Probabilities
    altered: Mapping[str, Probabilities]
    features: npt.NDArray[np.float64]


def evaluate_classes(bundle: Bundle, data: Data, split: str) -> ClassEvaluation:
    """Return the figures of a detection bundle on one split of ``data``.

    Raises `BundleError` leaves and `TrainingError`.
    """
    cases = of_split(relabelled(data, bundle.classes), split)
    return class_figures(bundle, split, cases, _told(bundle, cases))


def _told(bundle: Bundle, cases: Sequence[Case]) -> SplitAnswers:
    """Run the network on the films, and on the films altered for each control."""
    import keras

    network = load_network(bundle)
    temperature = bundle.manifest.calibration.temperature
    if wanted := bundle.manifest.input.lungs:
        lungs = lungs_of_cases(cases, wanted, bundle.folder.parent)
    else:
        lungs = lungs_of_cases(cases, CONTROL_LUNGS, model_bundles())

    def ask(change: Change | None) -> Probabilities:
        logits = logits_of(network, cases, bundle.contract, change, lungs)
        return probabilities(logits, temperature)

    last = keras.Model(network.input, network.get_layer("logits").input)
    return SplitAnswers(
        ask(None),
        {name: ask(change) for name, (_, change) in ALTERED.items()},
        logits_of(last, cases, bundle.contract, lungs=lungs),
    )


def only_rim(film: Float, _lungs: Lungs | None) -> Float:
    """Grey out the central 80 % × 76 % of a film, so that almost no lung is left."""
    rows, columns = film.shape
    top, left = round(rows * 0.10), round(columns * 0.12)
    altered = film.copy()
    altered[top : rows - top, left : columns - left] = film.mean()
    return altered


def without_lungs(film: Float, lungs: Lungs | None) -> Float:
    """Grey out the lungs, widened by a fiftieth of the film."""
    inside = _inside(film, lungs)
    return np.where(inside, film.mean(), film).astype(np.float32)


def only_lungs(film: Float, lungs: Lungs | None) -> Float:
    """Grey out everything but the lungs."""
    inside = _inside(film, lungs)
    grey = film[inside].mean() if inside.any() else film.mean()
    return np.where(inside, film, grey).astype(np.float32)


def _inside(film: Float, lungs: Lungs | None) -> npt.NDArray[np.bool_]:
    if lungs is None:
        raise ValueError("this control needs the lungs of the film. Received: none")
    rows, columns = film.shape
    whole = Region(0.0, 0.0, float(rows), float(columns))
    return lungs.mask_on(whole, (rows, columns), widen=max(rows, columns) // 50)


ALTERED: Mapping[str, tuple[str, Change]] = {
    "rim_only": ("the rim alone: central 80 % × 76 % of the film greyed out", only_rim),
    "lungs_hidden": ("the lungs greyed out", without_lungs),
    "lungs_only": ("the lungs alone: everything else greyed out", only_lungs),
}
"""The controls that alter the film; the crop, where there is one, stays the unaltered film's."""


def class_figures(
    bundle: Bundle, split: str, cases: Sequence[Case], told: SplitAnswers
) -> ClassEvaluation:
    """Return every figure of what was told about these films."""
    classes, found = bundle.classes, told.found
    labels = labels_of(cases, classes)
    draw = Bootstrap([case.patient for case in cases])
    return ClassEvaluation(
        head=head_of(bundle, split, cases),
        classes=classes,
        overall={name: draw(figure, labels, found) for name, figure in _OVERALL.items()},
        by_class={
            name: _of_class(index, labels, found, draw) for index, name in enumerate(classes)
        },
        confusion=tuple(tuple(map(int, row)) for row in metrics.confusion_matrix(labels, found)),
        abstention=_abstention(labels, found, bundle.threshold),
        by_source=_by_source(cases, found, classes),
        by_view=_groups([case.view for case in cases], cases, labels, found),
        by_sex=_groups([case.sex for case in cases], cases, labels, found),
        controls=_controls(cases, labels, told, classes),
        reliability=metrics.reliability(labels, found),
        curves={
            name: metrics.roc_points(labels == index, found[:, index])
            for index, name in enumerate(classes)
        },
        mistakes=_mistakes(cases, labels, found, classes),
        embedding=_embedding(cases, labels, told.features),
    )


_OVERALL: dict[str, Figure] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "geometric_mean_recall": metrics.geometric_mean_recall,
    "auc": lambda truth, stated: float(np.mean(metrics.areas_under_curve(truth, stated))),
    "log_loss": metrics.balanced_log_loss,
    "calibration_error": metrics.expected_calibration_error,
}


def _of_class(
    index: int, labels: Labels, found: Probabilities, draw: Bootstrap
) -> dict[str, Interval]:
    named: dict[str, Figure] = {
        "sensitivity": lambda truth, stated: metrics.sensitivities(truth, stated)[index],
        "specificity": lambda truth, stated: metrics.specificities(truth, stated)[index],
        "ppv": lambda truth, stated: metrics.positive_predictive_values(truth, stated)[index],
        "f1": lambda truth, stated: metrics.f1_scores(truth, stated)[index],
        "auc": lambda truth, stated: metrics.area_under_curve(truth == index, stated[:, index]),
    }
    return {name: draw(figure, labels, found) for name, figure in named.items()}


def _abstention(labels: Labels, found: Probabilities, threshold: float) -> dict[str, float]:
    answered = found.max(axis=1) >= threshold
    return {
        "threshold": threshold,
        "answered": float(answered.mean()),
        "accuracy_of_answered": metrics.accuracy(labels[answered], found[answered]),
        "accuracy_of_abstained": metrics.accuracy(labels[~answered], found[~answered]),
    }


def _by_source(
    cases: Sequence[Case], found: Probabilities, classes: Sequence[str]
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


def _groups(
    of_film: Sequence[str], cases: Sequence[Case], labels: Labels, found: Probabilities
) -> tuple[GroupRow, ...]:
    rows = []
    for group in sorted(set(of_film)):
        chosen = np.array([i for i, own in enumerate(of_film) if own == group])
        draw = Bootstrap([cases[i].patient for i in chosen])
        rows.append(
            GroupRow(
                group,
                len(chosen),
                draw(metrics.accuracy, labels[chosen], found[chosen]),
                draw(metrics.balanced_accuracy, labels[chosen], found[chosen]),
            )
        )
    return tuple(rows)


def _mistakes(
    cases: Sequence[Case], labels: Labels, found: Probabilities, classes: Sequence[str]
) -> tuple[Mistake, ...]:
    """Return the wrong films that the network was surest of, surest first."""
    named, stated = found.argmax(axis=1), found.max(axis=1)
    wrong = [i for i in np.argsort(-stated, kind="stable") if named[i] != labels[i]]
    return tuple(
        Mistake(cases[i].image_id, cases[i].source, classes[labels[i]], classes[named[i]],
                float(stated[i]))
        for i in wrong[:MISTAKES]
    )  # fmt: skip


_WITHIN = (
    ("nih", "NIH ChestX-ray8", "normal", "pneumonia"),
    ("cohen", "covid-chestxray-dataset (Cohen et al.)", "pneumonia", "covid19"),
    ("actualmed", "Actualmed COVID-19 chest X-ray dataset", "normal", "covid19"),
)


def _controls(
    cases: Sequence[Case], labels: Labels, told: SplitAnswers, classes: Sequence[str]
) -> dict[str, Control]:
    """Ask what the source of a film cannot answer, and what the lungs alone can."""
    everyone, chance = Bootstrap([case.patient for case in cases]), 1 / len(classes)
    controls = {
        name: Control(
            f"{ALTERED[name][0]} (chance is {chance:.2f})",
            len(cases),
            everyone(metrics.balanced_accuracy, labels, found),
            None,
        )
        for name, found in told.altered.items()
    }
    for key, source, negative, positive in _WITHIN:
        # A network that has no class for the negative finding has it among the others.
        column = negative if negative in classes else OTHER
        if column not in classes or positive not in classes:
            continue
        stated = [c.stated_finding or c.finding for c in cases]
        chosen = [
            i
            for i, c in enumerate(cases)
            if c.source == source and stated[i] in (negative, positive)
        ]
        if {stated[i] for i in chosen} != {negative, positive}:
            continue
        columns = [classes.index(column), classes.index(positive)]
        two = told.found[np.ix_(chosen, columns)]
        two = two / two.sum(axis=1, keepdims=True)
        truth = (labels[chosen] == columns[1]).astype(np.int64)
        draw = Bootstrap([cases[i].patient for i in chosen])
        controls[key] = Control(
            f"{positive} against {negative}, both from {source} (chance is 0.5)",
            len(chosen),
            draw(metrics.balanced_accuracy, truth, two),
            draw(lambda t, p: metrics.area_under_curve(t == 1, p[:, 1]), truth, two),
        )
    return controls


def _embedding(
    cases: Sequence[Case], labels: Labels, features: npt.NDArray[np.float64]
) -> Embedding:
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features)
    # Half a neighbourhood of the smallest class; a split of a few films still gets a picture.
    perplexity = min(25.0, max(2.0, (len(cases) - 1) / 4))
    plane = TSNE(perplexity=perplexity, init="pca", random_state=2020).fit_transform(scaled)
    sources = tuple(sorted({case.source for case in cases}))
    return Embedding(
        points=tuple((round(float(x), 1), round(float(y), 1)) for x, y in plane),
        classes=tuple(map(int, labels)),
        sources=tuple(sources.index(case.source) for case in cases),
        source_names=sources,
    )
