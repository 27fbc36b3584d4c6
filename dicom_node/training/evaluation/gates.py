"""What a gate declines and sets right, on films as they are and as they were changed.

Of each set of chest radiographs every ``every``-th film of a split, as it is, turned, rotated by
`STEEP` degrees, inverted and with a lung whited out, and the most opaque twentieth of the split; of
the gate's own pictures all of that split that show no film and no patient of another (`apart`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from dicom_node.analysis.alone import gate, lung_finder
from dicom_node.analysis.gate import FRONTAL, Lie
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.errors import TrainingError
from dicom_node.findings import TURNS
from dicom_node.imaging.prepare import Float
from dicom_node.training.datasets.cases import (
    Case,
    Data,
    of_split,
    read_cases,
    read_film,
    scored_opacity,
    sets_of,
)
from dicom_node.training.datasets.gate import TABLE, GateCase, apart, read_gate

Change = Callable[[Float], Float]
STEEP = 30


@dataclass(frozen=True, slots=True)
class GateRow:
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


def looked_at(row: GateRow, sights: Sequence[Sight]) -> list[Count]:
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


def rows_of_chests(
    data: Path, split: str, every: int, white: Sequence[Change]
) -> Iterator[GateRow]:
    """Yield the rows of a set of chest radiographs; ``white``: what whites out each lung."""
    name = f"chest radiographs, {data.name}"
    cases = of_split(read_cases(data), split)
    films = [case.path for case in cases][::every]
    yield GateRow(name, films)
    for times, turn in enumerate(TURNS[1:], 1):
        yield GateRow(f"{name}, turned by {90 * times}°", films, _turned(times), Lie(turned=turn))
    for degrees in (STEEP, -STEEP):
        yield GateRow(f"{name}, rotated by {degrees}°", films, _rotated(degrees))
    yield GateRow(f"{name}, inverted", films, lambda film: 1 - film, Lie(inverted=True))
    for side, change in zip(("left", "right"), white, strict=True):
        yield GateRow(f"{name}, the lung at the {side} whited out", films, change)
    if opaque := most_opaque(cases):
        yield GateRow(f"{name}, the most opaque twentieth", [case.path for case in opaque])


def most_opaque(cases: Sequence[Case]) -> list[Case]:
    """Return the twentieth with most opacity of the films on which readers scored or boxed it."""

    def part(case: Case) -> float:
        scored = scored_opacity(case)
        return scored if scored is not None else case.box_fraction or 0.0

    ordered = sorted((case for case in cases if part(case) > 0), key=part, reverse=True)
    return ordered[: -(-len(ordered) // 20)]


def rows_of_pictures(pictures: Sequence[GateCase], split: str) -> Iterator[GateRow]:
    """Yield a row for each kind of picture."""
    chosen = [each for each in pictures if each.split == split]
    for label in sorted({each.label for each in chosen}, key=lambda name: name != FRONTAL):
        yield GateRow(f"pictures, {label}", [each.path for each in chosen if each.label == label])


def whited_out(finder: LungFinder, *, at_right: bool) -> Change:
    """Return what covers the lung at one side of a film with soft grey, as an effusion does."""

    def change(film: Float) -> Float:
        lungs = finder.find(film)
        mask = Image.fromarray(lungs.mask.astype(np.float32))
        grid = np.array(mask.resize(film.shape[::-1], Image.Resampling.BILINEAR))
        middle = round((lungs.box.left + lungs.box.right) / 2)
        grid[:, slice(0, middle) if at_right else slice(middle, None)] = 0
        cover = gaussian_filter(grid, min(film.shape) / 60)
        white = max(0.8, float(np.quantile(film, 0.9)))
        return np.asarray(film + cover * (white - film), np.float32)

    return change


def _turned(times: int) -> Change:
    return lambda film: np.rot90(film, -times)


def _rotated(degrees: float) -> Change:
    """Return what rotates a film counter-clockwise; its darkest grey comes in at the corners."""

    def change(film: Float) -> Float:
        image = Image.fromarray(np.asarray(film, np.float32))
        dark = float(film.min())
        return np.asarray(image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=dark))

    return change


def rows_of(data: Data, split: str, every: int, finder: LungFinder) -> list[GateRow]:
    """Return all rows of chest radiographs and pictures below ``data``."""
    sets = sets_of(data)
    white = [whited_out(finder, at_right=side) for side in (False, True)]
    rows = [row for folder in sets for row in rows_of_chests(folder, split, every, white)]
    for folder in _with_pictures(data):
        cases = [case for found in sets for case in read_cases(found)]
        rows += rows_of_pictures(apart(read_gate(folder), cases), split)
    return rows


def _with_pictures(data: Data) -> list[Path]:
    given = (data,) if isinstance(data, Path) else tuple(data)
    return [folder for top in given for folder in (top, *sorted(top.glob("*/")))
            if (folder / TABLE).is_file()]  # fmt: skip


def evaluate_gate(bundle: Bundle, data: Data, split: str, every: int = 12) -> dict[str, Any]:
    """Return how many films of each row the gate declines, and how many lie as it says."""
    if not _with_pictures(data):
        raise TrainingError(
            f"A gate is measured on pictures too, and there is no {TABLE} among the data.",
            remedy="Name the folder that holds it: --data FOLDER.",
        )
    finder = lung_finder(open_bundle(bundle.folder.parent, "lung-unet"))
    sight = Sight(gate(bundle), None)
    rows = []
    for row in rows_of(data, split, every, finder):
        (count,) = looked_at(row, [sight])
        rows.append({"films": row.name, "number": len(row.films), "declined": count.declined,
                     "lies_as_said": count.right})  # fmt: skip
    return {
        "bundle": bundle.id, "version": bundle.manifest.version,
        "weights": bundle.manifest.weights.digest, "task": "gate", "split": split,
        "every": every, "rows": rows,
    }  # fmt: skip
