"""Films, lungs, opacities and labels as arrays: what the tasks of the lungs learn from.

A pack is a folder, made once: ``films.npy``, uint8 (films, 240, 240), the square around the lungs
with a wide margin, so that films can be moved without a black rim; ``targets.npz``: where the
lungs and the opacities are on it (uint8, (films, 60, 60)), the window that is nominally shown, and
each label, below 0 (or all classes allowed) where it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, resized
from dicom_node.training.datasets.cases import Box, Case, read_film
from dicom_node.training.datasets.words import APPEARANCES
from dicom_node.training.teaching.severity_data import drawn_on
from dicom_node.training.teaching.tasks.chest import BOXES, LESIONS, NEGATIVE

SIZE, CELLS, MARGIN, NOMINAL_MARGIN = 240, 60, 0.12, 0.04
OPAQUE, UNKNOWN = 200, 255
OPAQUE_PART = 0.15
"""The part of a lung's third inside boxes from which it counts as a zone with opacity."""

Boxes = Mapping[str, Sequence[Box]]
_READ_AS_NORMAL = ("NIH", "RSNA", "OpenIST")
_ALLOWED = {"negative": (1, 0, 0), "typical": (0, 0, 1)}


@dataclass(frozen=True, slots=True)
class FilmLabels:
    """What is known of one film; see `dicom_node.training.teaching.tasks.chest`."""

    finding: tuple[float, float, float]
    appearance: tuple[float, ...]
    opacity: float
    zones: tuple[float, ...]
    brixia: tuple[float, ...]
    level: float
    extents: tuple[float, float]


def group_of(case: Case) -> str:
    """Return the group that a film is drawn from: its source, and how it was read by whom."""
    return "|".join((case.source, case.finding, case.appearance_class, case.label_basis))


def is_kind(kind: str, case: Case, drawn: float) -> bool:
    """Whether a film is of the kind that a course favours.

    ``kind``: a finding, a source, ``graded extents`` or ``outlined opacities``; ``drawn``: how its
    opacities are known.
    """
    if kind == "graded extents":
        return case.geographic_extent is not None
    if kind == "outlined opacities":
        return drawn == LESIONS
    return case.finding == kind or case.source.startswith(kind)


def is_negative(case: Case) -> bool:
    """Whether the film was read as one without opacities."""
    if case.appearance_class:
        return case.appearance_class == "negative"
    return case.finding == "normal" and case.source.startswith(_READ_AS_NORMAL)


def labels_of(case: Case, *, boxed: bool) -> FilmLabels:
    """Return the labels of a film; ``boxed``: whether opacities were drawn on it."""
    negative = is_negative(case)
    none: tuple[float, ...] = (0.0,) * 6 if negative else (-1.0,) * 6
    zones = none
    if case.zones is not None:
        zones = tuple(float(score > 0) for score in case.zones)
    elif case.zone_fractions and case.airspace_level is not None and not negative:
        zones = tuple(float(part > OPAQUE_PART) for part in case.zone_fractions)
    geographic, opacity = case.geographic_extent, case.opacity_extent
    known = geographic is not None and opacity is not None
    level = case.airspace_level
    return FilmLabels(
        finding=_allowed(case),
        appearance=tuple(float(case.appearance_class == name) for name in APPEARANCES),
        opacity=_opacity(case, boxed=boxed),
        zones=zones,
        brixia=case.zones if case.zones is not None else none,
        level=float(level) if level is not None else 0.0 if negative else -1.0,
        extents=(float(geographic), float(opacity)) if known  # type: ignore[arg-type]
        else (0.0, 0.0) if negative else (-1.0, -1.0),
    )  # fmt: skip


def _allowed(case: Case) -> tuple[float, float, float]:
    """Return how far normal, pneumonia and COVID-19 are allowed by the label.

    What was read as a mere appearance, or is only known as an infection, allows several; NIH's
    pneumonias that were mined from reports allow normal by a part.
    """
    if case.appearance_class:
        return _ALLOWED.get(case.appearance_class, (0, 1, 1))
    if case.source.startswith("COVID-19 Radiography"):
        return (1, 0, 1)
    if case.source.startswith("COVID-CXNet"):
        return (0.1, 0, 1)
    if case.finding == "pneumonia":
        mined = case.source.startswith("NIH") and case.reader_class != "Lung Opacity"
        return (0.3, 1, 0) if mined else (0, 1, 0)
    if case.finding == "covid19":
        return (1, 0, 1) if case.geographic_extent == 0 else (0, 0, 1)
    return (1, 0, 0) if case.finding == "normal" else (1, 1, 1)


def _opacity(case: Case, *, boxed: bool) -> float:
    """Return whether the lungs show opacity, in [0, 1]; -1 where nobody said so."""
    if case.appearance_class:
        return float(case.appearance_class != "negative")
    if case.geographic_extent is not None:
        return float(case.geographic_extent >= 0.5)
    if boxed:
        return 1.0
    if case.finding == "normal":
        return 0.0
    # Films that were chosen to show a disease mostly do.
    mined = case.source.startswith(("NIH", "COVID-19 Radiography"))
    return 0.9 if case.finding in {"pneumonia", "covid19"} and not mined else -1.0


def drawn_opacities(case: Case, shape: tuple[int, ...], boxes: Boxes) -> tuple[Float | None, int]:
    """Return the opacities as drawn, 1 inside, on the film's grid, and how they are known."""
    drawn = drawn_on(case, shape, boxes.get(case.image_id, ()))
    if drawn is not None:
        return drawn, BOXES if case.lesions is None else LESIONS
    return (np.zeros(shape, np.float32), NEGATIVE) if is_negative(case) else (None, 0)


def write_pack(
    cases: Sequence[Case], boxes: Boxes, find: Callable[[Float], Lungs], folder: Path,
    on_film: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Write the pack of these films; ``find``: film → its lungs; ``on_film``: (done, of how many).

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(cases), SIZE, SIZE)
    films = np.lib.format.open_memmap(folder / "films.npy", "w+", np.uint8, shape)
    rows: list[dict[str, Any]] = []
    for index, case in enumerate(cases):
        film = read_film(case.path)
        films[index], row = _packed(film, case, boxes, find(film))
        rows.append(row)
        if on_film:
            on_film(index + 1, len(cases))
    films.flush()
    targets = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    np.savez_compressed(folder / "targets.npz", allow_pickle=False, **targets)


def _packed(
    film: Float, case: Case, boxes: Boxes, lungs: Lungs
) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """Return one film's picture and its targets."""
    region, shown = lungs.square(MARGIN), lungs.square(NOMINAL_MARGIN)
    height, width = region.bottom - region.top, region.right - region.left
    window = (
        (shown.top - region.top) / height, (shown.left - region.left) / width,
        (shown.bottom - region.top) / height, (shown.right - region.left) / width,
    )  # fmt: skip
    mask = Image.fromarray(lungs.mask.astype(np.float32))
    y, x = lungs.mask.shape[0] / lungs.rows, lungs.mask.shape[1] / lungs.columns
    inside = mask.resize(
        (CELLS, CELLS), Image.Resampling.BILINEAR,
        box=(region.left * x, region.top * y, region.right * x, region.bottom * y),
    )  # fmt: skip
    drawn, kind = drawn_opacities(case, film.shape, boxes)
    opaque = np.full((CELLS, CELLS), UNKNOWN, dtype=np.uint8)
    fraction = -1.0
    if drawn is not None:
        opaque = _bytes(resized(drawn, region, (CELLS, CELLS)), OPAQUE)
        whole = np.asarray(mask.resize((film.shape[1], film.shape[0]))) > 0.5
        if whole.any():
            fraction = float(drawn[whole].mean())
    labels = labels_of(case, boxed=kind in {BOXES, LESIONS})
    values = {
        name: np.asarray(getattr(labels, name), dtype=np.float32) for name in FilmLabels.__slots__
    }
    if drawn is not None and case.zones is None and not case.appearance_class and whole.any():
        values["zones"] = _opaque_parts(drawn, whole, lungs)
    extra = {"drawn": np.float32(kind), "fraction": np.float32(fraction)}
    return _bytes(resized(film, region, (SIZE, SIZE)), 255), {
        "lungs": _bytes(np.asarray(inside), 255), "opacity_map": opaque,
        "window": np.array(window, dtype=np.float32), **values, **extra,
    }  # fmt: skip


def _opaque_parts(drawn: Float, inside: npt.NDArray[np.bool_], lungs: Lungs) -> Float:
    """Return which zones hold opacities as drawn, (6,) of 0 and 1, in the order of `ZONES`.

    Thirds of the height and halves of the width of what the lungs fill.
    """
    box = lungs.box
    rows = np.linspace(box.top, box.bottom, 4)
    columns = (box.left, (box.left + box.right) / 2, box.right)
    parts = []
    for side in range(2):
        for third in range(3):
            part = (
                slice(round(rows[third]), round(rows[third + 1])),
                slice(round(columns[side]), round(columns[side + 1])),
            )
            counted = inside[part]
            opaque = (drawn[part] * counted).sum() / max(1, counted.sum())
            parts.append(float(opaque > OPAQUE_PART))
    return np.array(parts, dtype=np.float32)


def _bytes(values: Float, most: int) -> npt.NDArray[np.uint8]:
    return np.round(np.clip(values, 0.0, 1.0) * most).astype(np.uint8)
