"""The figures of an evaluation as PNG files. They hold numbers only, never a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Document = Mapping[str, Any]
Draw = Callable[[Axes, Document], None]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
"""Okabe and Ito's colours: told apart by people who see few of them."""


def draw_figures(evaluation: Document, folder: Path) -> tuple[Path, ...]:
    """Write the figures that the evaluation's task has; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in _drawings(evaluation).items():
        figure = Figure(figsize=(4.6, 4.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes, evaluation)
        axes.set_title(
            f"{evaluation['bundle']} {evaluation['version']}, {evaluation['split']}: "
            f"{evaluation['films']} films, {evaluation['patients']} patients", fontsize=9,
        )  # fmt: skip
        path = folder / name
        figure.savefig(path, metadata={"Software": None})
        paths.append(path)
    return tuple(paths)


def _confusion(axes: Axes, evaluation: Document) -> None:
    """Draw a confusion whose last column may be films that were given no class."""
    counts = np.array(evaluation["confusion"])
    names = [*evaluation["classes"], "undetermined"][: counts.shape[1]]
    parts = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        dark = "white" if parts[i, j] > 0.6 else "black"
        axes.text(j, i, f"{count}\n{parts[i, j]:.0%}", ha="center", va="center", color=dark)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks(range(len(counts)), evaluation["classes"], fontsize=8)
    axes.set_xlabel("named")
    axes.set_ylabel("true")


def _roc(axes: Axes, evaluation: Document) -> None:
    for colour, (name, points) in zip(_COLOURS, evaluation["curves"].items(), strict=False):
        auc = evaluation["by_class"][name]["auc"]["value"]
        label = name if auc is None else f"{name}: AUC {auc:.2f}"
        axes.plot([x for x, _ in points], [y for _, y in points], label=label, color=colour)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("1 − specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="lower right", fontsize=8)


def _reliability(axes: Axes, evaluation: Document) -> None:
    axes.plot([0.3, 1], [0.3, 1], color="grey", linewidth=0.8, linestyle="--")
    all_films = sum(films for _, _, films in evaluation["reliability"])
    for stated, met, films in evaluation["reliability"]:
        size = 8 + 1200 * films / all_films
        axes.scatter(stated, met, s=size, color=_COLOURS[0], alpha=0.6)
        axes.annotate(str(films), (stated, met), fontsize=7, ha="center", va="center")
    axes.set_xlabel("stated probability of the named class")
    axes.set_ylabel("part of films where it was right")


def _controls(axes: Axes, evaluation: Document) -> None:
    rows = {"the whole input": evaluation["overall"]["balanced_accuracy"]}
    rows |= {
        name.replace("_", " "): control["balanced_accuracy"]
        for name, control in evaluation["controls"].items()
    }
    rows = {name: figure for name, figure in rows.items() if figure["value"] is not None}
    values = [figure["value"] for figure in rows.values()]
    reach = [[f["value"] - f["low"] for f in rows.values()],
             [f["high"] - f["value"] for f in rows.values()]]  # fmt: skip
    places = np.arange(len(rows))
    axes.barh(places, values, xerr=reach, color=_COLOURS[5], ecolor="black", capsize=2)
    axes.set_yticks(places, list(rows), fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1 / len(evaluation["classes"]), color="grey", linewidth=0.8, linestyle="--")
    axes.axvline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_xlabel("balanced accuracy (lines: chance of all classes, of two)")


def _tsne_classes(axes: Axes, evaluation: Document) -> None:
    _plane(axes, evaluation, "classes", evaluation["classes"])


def _tsne_sources(axes: Axes, evaluation: Document) -> None:
    _plane(axes, evaluation, "sources", evaluation["embedding"]["source_names"])


def _plane(axes: Axes, evaluation: Document, key: str, names: list[str]) -> None:
    points = np.array(evaluation["embedding"]["points"])
    own = np.array(evaluation["embedding"][key])
    for k, name in enumerate(names):
        x, y = points[own == k].T
        axes.scatter(x, y, s=9, color=_COLOURS[k % len(_COLOURS)], label=name)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=6, loc="best")
    axes.set_xlabel("t-SNE of the last features")


def _scatter(axes: Axes, evaluation: Document) -> None:
    truth, found, low, high = np.array(evaluation["points"], dtype=float).T
    axes.plot([0, 8], [0, 8], color="grey", linewidth=0.8, linestyle="--")
    axes.vlines(truth, low, high, color=_COLOURS[5], linewidth=0.5, alpha=0.6)
    axes.scatter(truth, found, s=14, color=_COLOURS[0])
    axes.set_xlabel("readers' mean, 0-8")
    axes.set_ylabel("network, 0-8, with its 90 % interval")


def _zone_totals(axes: Axes, evaluation: Document) -> None:
    truth, found = np.array(evaluation["points"], dtype=float).T
    axes.plot([0, 18], [0, 18], color="grey", linewidth=0.8, linestyle="--")
    axes.scatter(truth, found, s=14, color=_COLOURS[0])
    axes.set_xlabel("senior reader, sum of six zones, 0-18")
    axes.set_ylabel("network, sum of six zones, 0-18")


def _dice(axes: Axes, evaluation: Document) -> None:
    points = evaluation["points"]
    axes.boxplot(list(points.values()), orientation="vertical", showfliers=False)
    for k, values in enumerate(points.values(), start=1):
        spread = np.random.default_rng(k).uniform(-0.15, 0.15, len(values))
        axes.scatter(k + spread, values, s=6, color=_COLOURS[0], alpha=0.5)
    axes.set_xticks(range(1, len(points) + 1), list(points), fontsize=7)
    axes.set_ylabel("Dice")


def _decision_curves(axes: Axes, evaluation: Document) -> None:
    axes.axhline(0, color="grey", linewidth=0.8)
    for colour, (name, curve) in zip(_COLOURS, evaluation["decisions"].items(), strict=False):
        thresholds, ours, every = zip(*curve, strict=True)
        axes.plot(thresholds, ours, color=colour, label=f"{name}: the network")
        axes.plot(thresholds, every, color=colour, linestyle=":", label=f"{name}: every film")
    axes.set_ylim(bottom=-0.05)
    axes.set_xlabel("probability from which a film is acted on")
    axes.set_ylabel("net benefit a film")
    axes.legend(fontsize=7)


_BY_TASK: Mapping[str, Mapping[str, Draw]] = {
    "detection": {
        "confusion.png": _confusion,
        "roc.png": _roc,
        "reliability.png": _reliability,
        "controls.png": _controls,
        "tsne-classes.png": _tsne_classes,
        "tsne-sources.png": _tsne_sources,
    },
    "score": {"scatter.png": _scatter},
    "airspace": {"zones.png": _zone_totals},
    "segmentation": {"dice.png": _dice},
}
_OF_SUITE: Mapping[str, tuple[str, Draw]] = {
    "confusion": ("confusion.png", _confusion),
    "reliability": ("reliability.png", _reliability),
    "decisions": ("decisions.png", _decision_curves),
    "points": ("scatter.png", _scatter),
}
"""Of a bundle of a course: which part of its evaluation is drawn, and how."""


def _drawings(evaluation: Document) -> Mapping[str, Draw]:
    if evaluation["task"] != "suite":
        return _BY_TASK.get(evaluation["task"], {})
    return dict(drawing for key, drawing in _OF_SUITE.items() if evaluation.get(key))


NAMES = {task: tuple(figures) for task, figures in _BY_TASK.items()}
"""The figures of each task, by file name."""
