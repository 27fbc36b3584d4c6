"""The table of labelled films and the films themselves.

The folder holds ``cases.csv`` (one row a film) and the images it names. Splits come from the
column ``split`` and are disjoint by patient; `read_cases` checks that.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.errors import TrainingError
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, InputContract, prepare

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled film. ``source``, ``patient``, ``view``, ``sex`` never reach a network.

    ``geographic_extent`` and ``opacity_extent``: 0-8, both lungs summed. ``zones``: Brixia scores
    0-3 in the order of `dicom_node.networks.covidnet_s.ZONES`. ``airspace_level``: 0-2.
    ``mask``: the lungs as drawn; ``lesions``: opacities as drawn. Absent: ``None``.
    ``stated_finding``: the table's, where ``finding`` is a class that holds several.
    """

    image_id: str
    path: Path
    split: str
    patient: str
    finding: str
    source: str
    view: str = "unknown"
    sex: str = "unknown"
    mask: Path | None = None
    mask_source: str = ""
    mask_convention: str = ""
    lesions: Path | None = None
    geographic_extent: float | None = None
    opacity_extent: float | None = None
    zones: tuple[float, ...] | None = None
    airspace_level: int | None = None
    stated_finding: str = ""


def read_cases(data: Path, classes: Sequence[str] = ()) -> tuple[Case, ...]:
    """Return the recommended films of the given classes (none given: all), in the table's order.

    Raises `TrainingError` when the table is missing or lacks a column, when an image is missing,
    or when a patient is in two splits.
    """
    table = data / "cases.csv"
    if not table.is_file():
        raise TrainingError(f"No cases.csv in {data}.")
    with table.open(newline="", encoding="utf8") as lines:
        try:
            cases = tuple(
                _case(row, data)
                for row in csv.DictReader(lines)
                if row["recommended"] == "1" and (not classes or row["finding"] in classes)
            )
        except KeyError as missing:
            raise TrainingError(f"{table} has no column {missing}.") from missing
    _check(cases)
    return cases


def _case(row: Mapping[str, str], data: Path) -> Case:
    """Return one row of the table as a case. Severity and masks are columns that may be absent."""
    zones = [row.get(f"zone_{letter}", "") for letter in "abcdef"]
    mask, lesions = row.get("mask_file", ""), row.get("lesion_file", "")
    level = row.get("airspace_level", "")
    return Case(
        image_id=row["image_id"],
        path=data / row["file"],
        split=row["split"],
        patient=row["patient_id"],
        finding=row["finding"],
        source=row["origin"],
        view=row.get("view") or "unknown",
        sex=row.get("sex") or "unknown",
        mask=data / mask if mask else None,
        mask_source=row.get("mask_source", ""),
        mask_convention=row.get("mask_convention", ""),
        lesions=data / lesions if lesions else None,
        geographic_extent=_number(row.get("geographic_extent", "")),
        opacity_extent=_number(row.get("opacity_extent", "")),
        zones=tuple(map(float, zones)) if all(zones) else None,
        airspace_level=int(float(level)) if level else None,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def of_split(cases: Iterable[Case], split: str) -> tuple[Case, ...]:
    """Return the films of one split; raises `TrainingError` if there is none."""
    chosen = tuple(case for case in cases if case.split == split)
    if not chosen:
        raise TrainingError(
            f"The table has no film of split {split!r}; known splits: {', '.join(SPLITS)}."
        )
    return chosen


def read_film(path: Path) -> Float:
    """Return an 8-bit grey image as float32 in [0, 1], shape (rows, columns), bright = dense."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)


def load_films(
    cases: Sequence[Case], contract: InputContract, lungs: Mapping[str, Lungs] | None = None
) -> npt.NDArray[np.float16]:
    """Return all films prepared by the contract, float16 in [0, 1], (films, rows, columns).

    One channel only (the others repeat it) and half precision: 1,000 films of 480 × 480 take
    0.46 GB. ``lungs`` by image id, where the contract needs them.
    """
    films = np.empty((len(cases), contract.rows, contract.columns), dtype=np.float16)
    for index, case in enumerate(cases):
        found = lungs[case.image_id] if lungs is not None else None
        films[index] = prepare(read_film(case.path), contract, found)[0][:, :, 0]
    return films


def load_masks(cases: Sequence[Case], shape: tuple[int, int]) -> npt.NDArray[np.float16]:
    """Return the drawn lungs of cases that have them, part of each cell, (films, *shape)."""
    masks = np.empty((len(cases), *shape), dtype=np.float16)
    for index, case in enumerate(cases):
        if case.mask is None:
            raise TrainingError(f"Film {case.image_id} has no lung mask.")
        with Image.open(case.mask) as picture:
            grey = picture.convert("L").resize((shape[1], shape[0]), Image.Resampling.BOX)
            masks[index] = np.asarray(grey, dtype=np.float32) / 255
    return masks


def labels_of(cases: Sequence[Case], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return each film's class as its index in ``classes``."""
    return np.array([classes.index(case.finding) for case in cases], dtype=np.int64)


def _check(cases: Sequence[Case]) -> None:
    """Refuse a table that would make a figure meaningless."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        splits[case.patient].add(case.split)
        if not case.path.is_file():
            raise TrainingError(f"cases.csv names {case.path.name}, which is not in images/.")
    torn = sorted(patient for patient, found in splits.items() if len(found) > 1)
    if torn:
        raise TrainingError(f"Patient {torn[0]} is in more than one split ({len(torn)} such).")
