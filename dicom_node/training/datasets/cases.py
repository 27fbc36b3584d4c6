"""The tables of labelled films and the films themselves.

A set is a folder with ``cases.csv`` (one row a film) and the images it names; several sets are read
as one. Splits come from the column ``split`` and are disjoint by patient over all sets:
`read_cases` checks that.
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
from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.training.datasets.words import ADULT, APPEARANCES

SPLITS = ("train", "val", "test")
TABLE, ANNOTATIONS = "cases.csv", "extra_annotations.csv"

Data = Path | Sequence[Path]
"""One set, several, or a folder whose own folders are sets."""

Box = tuple[float, float, float, float]
"""An opacity as drawn: x, y, width, height in pixels of the film."""

_ADDED = frozenset({"rsna_reader_class", "appearance_class", "pcr_test", "view", "age", "sex"})
"""What one set may tell of another set's films, where that one's own table is silent."""


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled film. ``source``, ``patient``, ``view``, ``sex``, ages never reach a network.

    ``geographic_extent`` and ``opacity_extent``: 0-8, both lungs summed. ``zones``: Brixia scores
    0-3 in the order of `dicom_node.networks.covidnet_s.ZONES`. ``airspace_level``: 0-2;
    ``airspace_basis``: what it was derived from, empty where readers scored the zones.
    ``mask``: the lungs as drawn; ``lesions``: opacities as drawn. Absent: ``None``.
    ``stated_finding``: the table's, where ``finding`` is a class that holds several.
    ``label_basis``: who says so; ``reader_class``: RSNA's radiologists' class.
    ``appearance_class``: one of `words.APPEARANCES`, of the film, not of the infection; empty:
    nobody read it so. ``boxes``: how many opacities were boxed (0: read, none found).
    ``box_fraction``: the part of the lungs inside boxes, 0-1; ``zone_fractions``: the part of each
    zone, in the order of ``zones``; both by lungs that a network outlined.
    ``covid_list_elsewhere``: another collection lists it among patients with COVID-19.
    ``age`` in years; ``age_group``: adult, child or unknown. ``pcr``: positive, negative or empty.
    ``source_patient``: the patient's name at the source.
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
    airspace_basis: str = ""
    finding_detail: str = ""
    label_basis: str = ""
    reader_class: str = ""
    appearance_class: str = ""
    boxes: int | None = None
    box_fraction: float | None = None
    zone_fractions: tuple[float, ...] | None = None
    covid_list_elsewhere: bool = False
    age: int | None = None
    age_group: str = "unknown"
    pcr: str = ""
    quality_notes: tuple[str, ...] = ()
    recommended: bool = True
    source_patient: str = ""


def read_cases(
    data: Data, classes: Sequence[str] = (), *, recommended_only: bool = True
) -> tuple[Case, ...]:
    """Return the films of the given classes (none given: all), set by set in the table's order.

    Films that are not recommended (children, sources that disagree) come only when asked for.
    Raises `TrainingError` when a table is missing or lacks a column, holds a word that it may not
    hold, when an image is missing, when two sets have a film of one name, or when a patient is in
    two splits, in whichever sets.
    """
    sets = sets_of(data)
    added = _annotations(sets)
    cases = tuple(case for folder in sets for case in _read(folder, added))
    _check(cases)
    return tuple(
        case
        for case in cases
        if (case.recommended or not recommended_only) and (not classes or case.finding in classes)
    )


def sets_of(data: Data) -> tuple[Path, ...]:
    """Return the folders with a table that ``data`` means, each once; see `Data`.

    Raises `TrainingError` where there is none.
    """
    given = (data,) if isinstance(data, Path) else tuple(data)
    found: dict[Path, Path] = {}
    for folder in given:
        within = [folder] if (folder / TABLE).is_file() else _sets_below(folder)
        if not within:
            raise TrainingError(f"No {TABLE} in {folder}.")
        found |= {each.resolve(): each for each in within}
    if not found:
        raise TrainingError("No folder of films was named.")
    return tuple(found.values())


def _sets_below(folder: Path) -> list[Path]:
    return sorted(table.parent for table in folder.glob(f"*/{TABLE}"))


def _read(folder: Path, added: Mapping[str, Mapping[str, str]]) -> Iterable[Case]:
    table = folder / TABLE
    with table.open(newline="", encoding="utf8") as lines:
        for row in csv.DictReader(lines):
            try:
                extra = added.get(row["image_id"], {})
                told = {key: row.get(key) or extra.get(key, "") for key in (*row, *extra)}
                yield _case(told, folder)
            except KeyError as missing:
                raise TrainingError(f"{table} has no column {missing}.") from missing
            except ValueError as fault:
                raise TrainingError(f"{table}: {row['image_id']}: {fault}.") from fault


def _annotations(sets: Sequence[Path]) -> Mapping[str, Mapping[str, str]]:
    """Return what `ANNOTATIONS` of any set add to films of any, by image id and column."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for table in (folder / ANNOTATIONS for folder in sets):
        if table.is_file():
            with table.open(newline="", encoding="utf8") as lines:
                for row in csv.DictReader(lines):
                    if row["field"] in _ADDED:
                        found[row["image_id"]].setdefault(row["field"], row["value"])
    return found


def _case(row: Mapping[str, str], folder: Path) -> Case:
    """Return one row of the table as a case; only a few columns may not be absent."""
    mask, lesions = row.get("mask_file", ""), row.get("lesion_file", "")
    level, boxes = row.get("airspace_level", ""), row.get("opacity_box_count", "")
    age = _number(row.get("age", ""))
    return Case(
        image_id=row["image_id"],
        path=folder / row["file"],
        split=_one_of(SPLITS, row["split"], "split"),
        patient=row["patient_id"],
        finding=row["finding"],
        source=row["origin"],
        view=row.get("view") or "unknown",
        sex=row.get("sex") or "unknown",
        mask=folder / mask if mask else None,
        mask_source=row.get("mask_source", ""),
        mask_convention=row.get("mask_convention", ""),
        lesions=folder / lesions if lesions else None,
        geographic_extent=_number(row.get("geographic_extent", "")),
        opacity_extent=_number(row.get("opacity_extent", "")),
        zones=_six(row, "zone"),
        airspace_level=int(float(level)) if level else None,
        airspace_basis=row.get("airspace_basis", ""),
        finding_detail=row.get("finding_detail", ""),
        label_basis=row.get("label_basis", ""),
        reader_class=row.get("rsna_reader_class", ""),
        appearance_class=_one_of(
            ("", *APPEARANCES), row.get("appearance_class", ""), "appearance_class"
        ),
        boxes=int(float(boxes)) if boxes else None,
        box_fraction=_number(row.get("opacity_box_lung_fraction", "")),
        zone_fractions=_six(row, "zonefrac"),
        covid_list_elsewhere=row.get("covid_list_elsewhere") == "1",
        age=None if age is None else int(age),
        age_group=row.get("age_group") or _age_group(age),
        pcr=row.get("pcr_test", ""),
        quality_notes=tuple(note for note in row.get("quality_note", "").split(";") if note),
        recommended=row["recommended"] == "1",
        source_patient=row.get("source_patient_id", ""),
    )


def _one_of(words: Sequence[str], word: str, column: str) -> str:
    if word not in words:
        raise ValueError(f"{column} {word!r} is none of {', '.join(filter(None, words))}")
    return word


def _six(row: Mapping[str, str], name: str) -> tuple[float, ...] | None:
    told = [row.get(f"{name}_{letter}", "") for letter in "abcdef"]
    return tuple(map(float, told)) if all(told) else None


def _number(text: str) -> float | None:
    return float(text) if text else None


def _age_group(age: float | None) -> str:
    return "unknown" if age is None else "child" if age < ADULT else "adult"


def read_boxes(data: Data) -> Mapping[str, tuple[Box, ...]]:
    """Return the opacity boxes of all sets by image id, in the order of the tables."""
    found: defaultdict[str, list[Box]] = defaultdict(list)
    for table in (folder / "opacity_boxes.csv" for folder in sets_of(data)):
        if table.is_file():
            with table.open(newline="", encoding="utf8") as lines:
                for row in csv.DictReader(lines):
                    x, y, width, height = (float(row[k]) for k in ("x", "y", "width", "height"))
                    found[row["image_id"]].append((x, y, width, height))
    return {image_id: tuple(boxes) for image_id, boxes in found.items()}


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


def scored_opacity(case: Case) -> float | None:
    """Return how much of the lungs readers scored as opaque, in [0, 1]; None: nobody did."""
    if case.geographic_extent is not None:
        return case.geographic_extent / 8
    return sum(case.zones) / 18 if case.zones else None


def labels_of(cases: Sequence[Case], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return each film's class as its index in ``classes``."""
    return np.array([classes.index(case.finding) for case in cases], dtype=np.int64)


def _check(cases: Sequence[Case]) -> None:
    """Refuse tables that would make a figure meaningless.

    Two sets may name one patient in two ways: the source's own name for him counts as well.
    """
    splits: defaultdict[str, set[str]] = defaultdict(set)
    known: set[str] = set()
    for case in cases:
        for patient in {case.patient, case.source_patient} - {""}:
            splits[patient].add(case.split)
        if case.image_id in known:
            raise TrainingError(f"There are two films {case.image_id}.")
        known.add(case.image_id)
        if not case.path.is_file():
            raise TrainingError(f"cases.csv names {case.path.name}, which is not in images/.")
    torn = sorted(patient for patient, found in splits.items() if len(found) > 1)
    if torn:
        raise TrainingError(f"Patient {torn[0]} is in more than one split ({len(torn)} such).")
