"""The figure of two networks beside each other: their numbers, film by film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dicom_node.analysis.agreement import Agreement

_COLUMNS, _MOST = 3, 24


def draw_agreement(found: Sequence[Agreement], names: tuple[str, str], path: Path) -> Path | None:
    """Write a PNG with a panel for each name that has numbers; None where none has.

    It holds numbers only, never a film or a UID.
    """
    shown = [one for one in found if one.numbers][:_MOST]
    if not shown:
        return None
    rows = math.ceil(len(shown) / _COLUMNS)
    columns = min(len(shown), _COLUMNS)
    figure = Figure(figsize=(3.4 * columns, 3.2 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for number, one in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, columns, number)
        first, second = zip(*one.numbers, strict=True)
        low, high = min(*first, *second), max(*first, *second)
        axes.plot([low, high], [low, high], color="grey", linewidth=0.8, linestyle="--")
        axes.scatter(first, second, s=10, alpha=0.5, color="#0072B2")
        axes.set_title(f"{one.name}: {one.films} films", fontsize=9)
        axes.set_xlabel(names[0], fontsize=8)
        axes.set_ylabel(names[1], fontsize=8)
        axes.tick_params(labelsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    return path
