"""Whole pictures as arrays: what the gate learns from.

A pack is a folder, made once: ``films.npy``, uint8 (pictures, 160, 160), each picture as a square;
``targets.npz``: ``lungs`` uint8 (pictures, 80, 80), 0 where nobody looked for them, ``kind``
one-hot, ``upright`` 1 where it is known how the picture lies, ``child`` (-1 unknown), ``window``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float
from dicom_node.networks.chest_gate import KINDS
from dicom_node.training.datasets.cases import Case, read_film
from dicom_node.training.datasets.gate import GateCase, apart

SIZE, CELLS = 160, 80
FRONTAL = KINDS[0]
MOST = {
    "SIIM-FISABIO": 1500, "RSNA Pneumonia": 500, "COVID-19 Radiography": 300, "Kermany": 440,
    "Pakistan": 300, "TB Chest": 300, "COVID-CXNet": 363,
}  # fmt: skip
"""How many frontal films of the larger sources are enough, a split."""

_DRAWN = {"frontal_chest": 0.35, "lateral_chest": 0.06, "other_radiograph": 0.27,
          "no_radiograph": 0.22}  # fmt: skip
_AWKWARD = 0.1
"""How often each kind is drawn, and the frontal films that were chosen because they are awkward."""


@dataclass(frozen=True, slots=True)
class GatePicture:
    """One picture of the gate's course. ``child``: 1, 0, or -1 unknown; ``chosen``: of the gate's
    own table; ``patient``: "" where nobody knows whose it is.
    """

    image_id: str
    path: Path
    split: str
    label: str
    source: str
    patient: str
    upright: bool
    child: float
    chosen: bool


def pictures(table: Sequence[GateCase], films: Sequence[Case]) -> list[GatePicture]:
    """Return the pictures of the splits ``train`` and ``val``: the table's, then films of the sets.

    Frontal films of the table whose film or patient another set has in another split are left out
    (`apart`). Of laterals there are so few that they stay: a patient's frontal film is another one.
    """
    kept = {picture.image_id for picture in apart(table, films)}
    chosen = [
        _of_table(case) for case in table if case.label != FRONTAL or case.image_id in kept
    ] + _of_sets(films)  # fmt: skip
    return [picture for picture in chosen if picture.split != "test"]


def _of_table(case: GateCase) -> GatePicture:
    odd = any(word in case.note + case.detail for word in ("invert", "upside"))
    frontal = case.label == FRONTAL
    age = {"adult": 0.0, "child": 1.0}.get(case.age_group, -1.0)
    return GatePicture(
        case.image_id, case.path, case.split, case.label, "gate", (*case.patients, "")[0],
        upright=frontal and not odd, child=age if frontal and not odd else -1.0, chosen=True,
    )  # fmt: skip


def _of_sets(films: Sequence[Case]) -> list[GatePicture]:
    groups: defaultdict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in films:
        groups[case.source, case.split].append(case)
    found = []
    for (source, split), cases in sorted(groups.items()):
        most = next((n for name, n in MOST.items() if source.startswith(name)), len(cases))
        most = most if split == "train" else most // 2
        chance = np.random.default_rng([len(cases), len(source)])
        taken = sorted(chance.choice(len(cases), min(most, len(cases)), replace=False))
        found += [_of_set(cases[k]) for k in taken]
    return found


def _of_set(case: Case) -> GatePicture:
    notes = " ".join(case.quality_notes)
    child = case.age_group == "child" or "paediatric" in notes
    return GatePicture(
        case.image_id, case.path, case.split, FRONTAL, case.source, case.patient,
        upright="rotated" not in notes, child=float(child), chosen=False,
    )  # fmt: skip


def chances(shown: Sequence[GatePicture]) -> npt.NDArray[np.float64]:
    """Return each picture's chance of being drawn, (pictures,), sum 1."""
    weights = np.zeros(len(shown))
    for label, part in _DRAWN.items():
        which = np.array([p.label == label and not (p.chosen and label == FRONTAL) for p in shown])
        weights[which] = part / max(1, which.sum())
    awkward = np.array([p.label == FRONTAL and p.chosen for p in shown])
    weights[awkward] = _AWKWARD / max(1, awkward.sum())
    return np.asarray(weights / weights.sum())


def write_pack(
    shown: Sequence[GatePicture], find: Callable[[Float], Lungs], folder: Path,
    on_film: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write the pack of these pictures; ``find``: film → its lungs; ``on_film``: (done, of all).

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(shown)
    films = np.lib.format.open_memmap(folder / "films.npy", "w+", np.uint8, (count, SIZE, SIZE))
    lungs = np.zeros((count, CELLS, CELLS), np.uint8)
    for index, picture in enumerate(shown):
        film = read_film(picture.path)
        films[index] = _square(film, SIZE)
        if not picture.chosen:
            lungs[index] = _square(find(film).mask.astype(np.float32), CELLS)
        if on_film:
            on_film(index + 1, count)
    films.flush()
    targets: dict[str, Any] = {
        "lungs": lungs,
        "kind": np.array([[p.label == kind for kind in KINDS] for p in shown], np.float32),
        "upright": np.array([p.upright for p in shown], np.float32),
        "child": np.array([p.child for p in shown], np.float32),
        "window": np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1)),
    }
    np.savez_compressed(folder / "targets.npz", allow_pickle=False, **targets)


def _square(values: Float, side: int) -> npt.NDArray[np.uint8]:
    """Return the picture as a square of ``side`` pixels, uint8."""
    small = Image.fromarray(values).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(np.round(np.clip(np.asarray(small), 0.0, 1.0) * 255).astype(np.uint8))
