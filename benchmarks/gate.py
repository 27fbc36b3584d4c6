"""How many films the input gate declines and sets right: the table of docs/input-gate.md.

``python benchmarks/gate.py --data DIR`` looks at real films: of the sets ``cxr`` and ``cxr2``
below DIR every ``--every``-th recommended film of ``--split``, as it is, turned, inverted, and
with a lung whited out; of the set ``gate`` every picture of that split. ``--gate`` names the
bundle; without one the rule on the lungs' outlines is looked at alone. Nothing is printed but
counts.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from dicom_node import resources
from dicom_node.analysis.gate import FRONTAL, Gate, Lie
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import open_bundle
from dicom_node.findings import TURNS
from dicom_node.imaging.prepare import Float
from dicom_node.settings.model import AnalysisSection
from dicom_node.training.datasets.cases import SPLITS, of_split, read_cases, read_film
from dicom_node.training.datasets.gate import TABLE, GateCase, apart, read_gate

Change = Callable[[Float], Float]


@dataclass(frozen=True, slots=True)
class Row:
    """Films that are looked at, and how each of them then lies."""

    name: str
    films: Sequence[Path]
    change: Change = lambda film: film
    lie: Lie = field(default_factory=Lie)


@dataclass(slots=True)
class Count:
    """Of some films: how many were declined, and of the others how many lie as was said."""

    declined: int = 0
    right: int = 0


def looked_at(row: Row, sights: Sequence[Sight]) -> list[Count]:
    """Return the counts of one row, one for each way to look."""
    counts = [Count() for _ in sights]
    for path in row.films:
        film = np.ascontiguousarray(row.change(read_film(path)), np.float32)
        for sight, count in zip(sights, counts, strict=True):
            seen = sight.look(film)
            count.declined += seen.reason is not None
            count.right += seen.reason is None and (seen.lie.turned, seen.lie.inverted) == (
                row.lie.turned, row.lie.inverted,
            )  # fmt: skip
    return counts


def rows_of_chests(data: Path, split: str, every: int, white: Change) -> Iterator[Row]:
    """Yield the rows of a set of chest radiographs."""
    name = f"chest radiographs, {data.name}"
    films = [case.path for case in of_split(read_cases(data), split)][::every]
    yield Row(name, films)
    for times, turn in enumerate(TURNS[1:], 1):
        yield Row(f"{name}, turned by {90 * times}°", films, _turned(times), Lie(turned=turn))
    yield Row(f"{name}, inverted", films, lambda film: 1 - film, Lie(inverted=True))
    yield Row(f"{name}, a lung whited out", films, white)


def rows_of_pictures(pictures: Sequence[GateCase], split: str) -> Iterator[Row]:
    """Yield a row for each kind of picture."""
    chosen = [each for each in pictures if each.split == split]
    for label in sorted({each.label for each in chosen}, key=lambda name: name != FRONTAL):
        yield Row(f"pictures, {label}", [each.path for each in chosen if each.label == label])


def whited_out(finder: LungFinder) -> Change:
    """Return what covers the lung at the left of a film with soft grey, as an effusion does."""

    def change(film: Float) -> Float:
        lungs = finder.find(film)
        mask = Image.fromarray(lungs.mask.astype(np.float32))
        grid = np.array(mask.resize(film.shape[::-1], Image.Resampling.BILINEAR))
        grid[:, round((lungs.box.left + lungs.box.right) / 2) :] = 0
        cover = gaussian_filter(grid, min(film.shape) / 60)
        return film + cover * (max(0.8, float(np.quantile(film, 0.9))) - film)

    return change


def _turned(times: int) -> Change:
    return lambda film: np.rot90(film, -times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("DICOM_NODE_DATA", "."))
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--models", type=Path, default=resources.model_bundles())
    parser.add_argument("--gate", default=AnalysisSection().gate)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--every", type=int, default=4)
    asked = parser.parse_known_args()[0]
    sets = [asked.data / name for name in ("cxr", "cxr2") if (asked.data / name).is_dir()]
    if not sets:
        print(f"Neither cxr nor cxr2 in {asked.data}: nothing to look at.")
        return
    finder = LungFinder(open_bundle(asked.models, AnalysisSection().lungs))
    sights = {"lung outlines": Sight(None, finder)}
    if asked.gate:
        sights[asked.gate] = Sight(Gate(open_bundle(asked.models, asked.gate)), None)
    rows = [
        row
        for data in sets
        for row in rows_of_chests(data, asked.split, asked.every, whited_out(finder))
    ]
    if (asked.data / "gate" / TABLE).is_file():
        cases = [case for data in sets for case in read_cases(data)]
        rows += rows_of_pictures(apart(read_gate(asked.data / "gate"), cases), asked.split)
    heads = [f"{name}: {what}" for name in sights for what in ("declined", "lies as said")]
    print(f"| films | number | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}", flush=True)
    for row in rows:
        counts = looked_at(row, tuple(sights.values()))
        cells = [f"{n:,}" for each in counts for n in (each.declined, each.right)]
        print(f"| {row.name} | {len(row.films):,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
