"""The figures of an evaluation as PNG files. They hold numbers only, never a film."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dicom_node.training.evaluate import Evaluation

NAMES = ("confusion.png", "roc.png", "reliability.png")


def draw_figures(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Write confusion matrix, ROC curves and reliability diagram; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in NAMES)
    for path, draw in zip(paths, (_confusion, _roc, _reliability), strict=True):
        figure = Figure(figsize=(4.6, 4.2), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes, evaluation)
        axes.set_title(
            f"{evaluation.bundle} {evaluation.version}, {evaluation.split}: "
            f"{evaluation.films} films, {evaluation.patients} patients", fontsize=9,
        )  # fmt: skip
        figure.savefig(path, metadata={"Software": None})
    return paths


def _confusion(axes: Axes, evaluation: Evaluation) -> None:
    totals = [max(1, sum(row)) for row in evaluation.confusion]
    parts = [[v / t for v in row] for row, t in zip(evaluation.confusion, totals, strict=True)]
    axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(evaluation.confusion):
        for j, count in enumerate(row):
            dark = "white" if parts[i][j] > 0.6 else "black"
            axes.text(j, i, f"{count}\n{parts[i][j]:.0%}", ha="center", va="center", color=dark)
    axes.set_xticks(range(len(evaluation.classes)), evaluation.classes)
    axes.set_yticks(range(len(evaluation.classes)), evaluation.classes)
    axes.set_xlabel("named")
    axes.set_ylabel("true")


def _roc(axes: Axes, evaluation: Evaluation) -> None:
    for name, points in evaluation.curves.items():
        auc = evaluation.by_class[name]["auc"].value
        label = name if auc is None else f"{name}: AUC {auc:.2f}"
        axes.plot([x for x, _ in points], [y for _, y in points], label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("1 − specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="lower right", fontsize=8)


def _reliability(axes: Axes, evaluation: Evaluation) -> None:
    axes.plot([0.3, 1], [0.3, 1], color="grey", linewidth=0.8, linestyle="--")
    for stated, met, films in evaluation.reliability:
        axes.scatter(stated, met, s=8 + 4 * films, color="tab:blue", alpha=0.7)
        axes.annotate(str(films), (stated, met), fontsize=7, ha="center", va="center")
    axes.set_xlabel("stated probability of the named class")
    axes.set_ylabel("part of films where it was right")
