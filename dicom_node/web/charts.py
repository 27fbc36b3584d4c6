"""Charts as SVG on the pages' dark ground, by Matplotlib."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np
from matplotlib import rc_context, rcsetup
from matplotlib.figure import Figure

from dicom_node.chest import FIGURES, FINDING_CLASSES
from dicom_node.findings import FilmFindings
from dicom_node.ledger.cases import MEASURED
from dicom_node.results.films import AnalysedFilm, Context, taken_at

OUTCOMES = ("analysed", "declined", "failed", "waiting")
FINDINGS = FINDING_CLASSES
NAMES = {
    "films": "Films a day",
    "findings": "Findings a day",
    "latency": f"Seconds from receiving to each stage, of the latest {MEASURED:,} cases at most",
    "deliveries": "Deliveries",
}

Rows = Sequence[Mapping[str, Any]]

_STYLE: Any = {
    "axes.facecolor": "#15181d", "figure.facecolor": "#15181d", "text.color": "#e8eaed",
    "axes.labelcolor": "#e8eaed", "xtick.color": "#b4bac4", "ytick.color": "#b4bac4",
    "axes.edgecolor": "#4a515c", "axes.spines.top": False, "axes.spines.right": False,
    "font.size": 10.0, "legend.frameon": False, "svg.fonttype": "none", "svg.hashsalt": "charts",
    "axes.prop_cycle": rcsetup.cycler(
        color=["#6fb1ff", "#ffb84d", "#ff7b72", "#9aa4b2", "#8fd694"]
    ),
}  # fmt: skip
_STAGES = ("analysed", "reported", "sent")


def draw(name: str, rows: Rows) -> bytes:
    """Return the chart called ``name`` of `NAMES` as SVG."""
    return _svg(_DRAWN[name], rows)


def by_day(rows: Rows) -> Iterable[tuple[str, Counter[str]]]:
    """Yield each day with how many cases had which outcome and finding."""
    days: dict[str, Counter[str]] = {}
    for row in rows:
        counts = days.setdefault(str(row["received_at"])[:10], Counter())
        counts[row["outcome"]] += 1
        if row["finding"]:
            counts["abstained" if row["abstained"] else row["finding"]] += 1
    yield from sorted(days.items())


def course(films: Sequence[AnalysedFilm], context: Context) -> bytes:
    """Return the scores of the patient's earlier films and of these."""
    points = [(film.when, film.findings) for film in context.earlier]
    points += [(taken_at(film.dataset) or "this film", film.findings) for film in films]
    words = {name: each.wording for name, each in context.template.severity.scores.items()}
    return _svg(lambda figure, _: _course(figure, points, words), ())


def drift(rows: Rows, since: str) -> bytes:
    """Return how this week's probabilities and extents lie beside those of the weeks before."""
    return _svg(lambda figure, _: _drift(figure, rows, since), ())


def by_week(rows: Rows) -> Iterable[tuple[str, int, int, float]]:
    """Yield each week's Monday, how many cases answered one headline, and of how many it is found.

    Last the median of its numbers. ``rows``: ``received_at`` as a day, ``found``, ``number``.
    """
    weeks: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        day = date.fromisoformat(str(row["received_at"])[:10])
        weeks.setdefault((day - timedelta(days=day.weekday())).isoformat(), []).append(row)
    for week, told in sorted(weeks.items()):
        found = sum(int(row["found"]) for row in told)
        yield week, len(told), found, median(float(row["number"]) for row in told)


def observation(rows: Rows) -> bytes:
    """Return what one headline said over the weeks: the share that is found, the median number."""
    return _svg(_observation, rows)


_DRAWING = threading.Lock()
"""Matplotlib's style is one for the process: charts are drawn one after the other."""


def _svg(drawn: Callable[[Figure, Rows], None], rows: Rows) -> bytes:
    with _DRAWING, rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        drawn(figure, rows)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _films(figure: Figure, rows: Rows) -> None:
    _stacked(figure, rows, OUTCOMES)


def _findings(figure: Figure, rows: Rows) -> None:
    _stacked(figure, rows, (*FINDINGS, "abstained"))


def _stacked(figure: Figure, rows: Rows, names: Sequence[str]) -> None:
    axes, days = figure.subplots(), list(by_day(rows))
    # Cases may have neither: of networks that declare what they say alone, or declined.
    if not any(counts[name] for _, counts in days for name in names):
        _nothing(axes)
        return
    places, below = np.arange(len(days)), np.zeros(len(days))
    for name in names:
        heights = np.array([counts.get(name, 0) for _, counts in days], float)
        if heights.any():
            axes.bar(places, heights, bottom=below, label=name, width=0.8)
        below += heights
    step = max(1, len(days) // 8)
    axes.set_xticks(places[::step], [day[5:] for day, _ in days][::step])
    axes.legend(loc="upper left", ncols=4)


def _latency(figure: Figure, rows: Rows) -> None:
    axes = figure.subplots()
    seconds = {stage: [_seconds(row, stage) for row in rows if row[stage] and row["received"]]
               for stage in _STAGES}  # fmt: skip
    shown = {stage: values for stage, values in seconds.items() if values}
    if not shown:
        _nothing(axes)
        return
    grey: Any = {"color": "#b4bac4"}
    axes.boxplot(
        list(shown.values()), orientation="horizontal", showfliers=False, boxprops=grey,
        whiskerprops=grey, capprops=grey, medianprops={"color": "#ffb84d"},
    )  # fmt: skip
    axes.set_yticks(range(1, len(shown) + 1), list(shown))
    axes.set_xlabel("seconds after the first film was received")


def _seconds(row: Mapping[str, Any], stage: str) -> float:
    begun, ended = (datetime.fromisoformat(row[name]) for name in ("received", stage))
    return (ended - begun).total_seconds()


def _deliveries(figure: Figure, rows: Rows) -> None:
    axes = figure.subplots()
    counts = Counter(row["delivery"] for row in rows)
    if not counts:
        _nothing(axes)
        return
    names = sorted(counts)
    bars = axes.barh(names, [counts[name] for name in names])
    axes.bar_label(bars, color="#e8eaed", padding=4)


def _course(
    figure: Figure, points: Sequence[tuple[str, FilmFindings]], words: Mapping[str, str]
) -> None:
    axes = figure.subplots()
    for name, wording in words.items():
        scores = [(when, found.scores[name]) for when, found in points if name in found.scores]
        if not scores:
            continue
        values = np.array([score.value for _, score in scores])
        low = np.array([score.value if score.low is None else score.low for _, score in scores])
        high = np.array([score.value if score.high is None else score.high for _, score in scores])
        axes.errorbar([when for when, _ in scores], values, [values - low, high - values],
                      marker="o", capsize=4, label=wording)  # fmt: skip
    axes.set_ylim(0, 8)
    axes.set_ylabel("score (0-8), 90 % interval")
    if axes.lines:
        axes.legend(loc="upper left")


def _drift(figure: Figure, rows: Rows, since: str) -> None:
    first = FIGURES[0]
    names = {"probability": (0.0, 1.0), first.name: (0.0, first.most), "in_lungs": (0.0, 1.0)}
    for axes, (name, limits) in zip(figure.subplots(1, 3), names.items(), strict=True):
        for label, chosen in (("before", False), ("this week", True)):
            values = [
                row[name]
                for row in rows
                if row.get(name) is not None and (row["received_at"] >= since) == chosen
            ]
            if values:
                axes.hist(values, bins=np.linspace(*limits, 11), density=True, alpha=0.6,
                          label=f"{label} ({len(values)})")  # fmt: skip
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_yticks([])
        if axes.patches:
            axes.legend(fontsize=8)


def _observation(figure: Figure, rows: Rows) -> None:
    weeks = list(by_week(rows))
    if not weeks:
        _nothing(figure.subplots())
        return
    share, number = figure.subplots(1, 2)
    places = np.arange(len(weeks))
    bars = share.bar(places, [found / cases for _, cases, found, _ in weeks], width=0.8)
    share.bar_label(bars, [f"{cases}" for _, cases, _, _ in weeks], color="#b4bac4", fontsize=8)
    share.set_ylim(0, 1.12)
    share.set_title("share found, of so many cases", fontsize=10)
    number.plot(places, [middle for *_, middle in weeks], marker="o", color="#ffb84d")
    number.set_title("median of the number", fontsize=10)
    step = max(1, len(weeks) // 5)
    for axes in (share, number):
        axes.set_xticks(places[::step], [week[5:] for week, *_ in weeks][::step])


def _nothing(axes: Any) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing in these days", ha="center", va="center")


_DRAWN: Mapping[str, Callable[[Figure, Rows], None]] = {
    "films": _films,
    "findings": _findings,
    "latency": _latency,
    "deliveries": _deliveries,
}
