"""One table of films from folders of public sources: the papers' COVIDx, rebuilt as a tool.

Copies of a film, within a source or across sources, become one row and their patients one group.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dicom_node.errors import ImageError, TrainingError
from dicom_node.imaging.grayscale import film_of
from dicom_node.training.datasets.cases import Box
from dicom_node.training.datasets.copies import Picture, Print, Values, copies, print_of
from dicom_node.training.datasets.own import PICTURES
from dicom_node.training.datasets.records import Record
from dicom_node.training.datasets.splits import PatientGroup, joined, split_groups
from dicom_node.training.datasets.words import FINDINGS

SHORTER_SIDE, QUALITY = 512, 92
COLUMNS = (
    "image_id", "file", "split", "patient_id", "finding", "finding_detail", "label_basis", "origin",
    "source_repo", "source_path", "other_filenames_same_image", "source_patient_id", "licence_note",
    "view", "age", "sex", "geographic_extent", "opacity_extent",
    "zone_a", "zone_b", "zone_c", "zone_d", "zone_e", "zone_f",
    "zone_a_junior", "zone_b_junior", "zone_c_junior", "zone_d_junior", "zone_e_junior",
    "zone_f_junior", "zones_with_opacity", "airspace_level", "has_lung_mask", "mask_file",
    "mask_source", "mask_convention", "lesion_file", "rsna_reader_class",
    "width", "height", "orig_width", "orig_height", "quality_note", "recommended",
    "age_group", "appearance_class", "covid_list_elsewhere", "also_in", "patient_id_basis",
    "pcr_test", "opacity_box_count", "opacity_box_lung_fraction", "zonefrac_a", "zonefrac_b",
    "zonefrac_c", "zonefrac_d", "zonefrac_e", "zonefrac_f", "airspace_basis", "geometry_note",
    "source_url",
)  # fmt: skip
"""The columns of every table that training reads; what no source tells stays blank."""

_PICTURE_FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, ImageError)
"""What Pillow and our decoders raise for files that are no pictures."""

BOX_COLUMNS = ("image_id", "x", "y", "width", "height")
"""The columns of ``opacity_boxes.csv``: pixels of the film as it was written."""

OnStep = Callable[[str, int, int], None]
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WrittenFilm:
    """A film that was read and written: sizes are (columns, rows), before and after."""

    image_id: str
    record: Record
    seen: Print
    original: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: rows of the table; ``copies`` merged; ``unreadable`` files and reasons."""

    rows: tuple[Row, ...]
    copies: int
    unreadable: Mapping[Path, str]

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Return the number of films by (origin, finding, split)."""
        return Counter((row["origin"], row["finding"], row["split"]) for row in self.rows)


def build(
    records: Iterable[Record], out: Path, *, seed: int = 2020, on_step: OnStep | None = None
) -> Built:
    """Write ``cases.csv``, ``images/`` and any boxes into ``out``; return what was built.

    Films are 8-bit grey JPEG of quality 92, the shorter side at most 512 pixels, never enlarged.
    The same records and seed give the same table, in whatever order they come. Raises
    `TrainingError` if no film can be read, or if ``out`` holds films already.
    """
    images = out / "images"
    if (out / "cases.csv").exists() or (images.is_dir() and any(images.iterdir())):
        raise TrainingError(f"{out} holds films already.", remedy="Choose an empty folder.")
    images.mkdir(parents=True, exist_ok=True)
    say = on_step or (lambda *_: None)
    films, unreadable = _read_all(records, images, say)
    if not films:
        raise TrainingError(
            "No film of these sources could be read.",
            remedy="See that the pictures are whole: open one of them.",
        )
    say("copies are looked for", 0, 1)
    sets = _copy_sets(films)
    say("copies are looked for", 1, 1)
    for film in (film for same in sets for film in same[1:]):
        (images / f"{film.image_id}.jpg").unlink()
    rows = _rows(sets, seed)
    boxes = [box for same in sets for box in _box_rows(same)]
    if boxes:
        _write(boxes, BOX_COLUMNS, out / "opacity_boxes.csv")
    _write(rows, COLUMNS, out / "cases.csv")
    return Built(rows, len(films) - len(sets), unreadable)


def _read_all(
    records: Iterable[Record], images: Path, say: OnStep
) -> tuple[list[WrittenFilm], dict[Path, str]]:
    ordered = sorted(records, key=lambda film: (film.origin, film.name, film.path))
    films: list[WrittenFilm] = []
    unreadable: dict[Path, str] = {}
    taken: Counter[str] = Counter()
    for number, record in enumerate(ordered, start=1):
        name = f"{record.origin}/{record.name}"
        taken[name] += 1
        try:
            picture = read_picture(record.path)
        except _PICTURE_FAULTS as fault:
            unreadable[record.path] = str(fault)
        else:
            films.append(_written(record, picture, f"{name}/{taken[name]}", images))
        say("films are read", number, len(ordered))
    return films, unreadable


def read_picture(path: Path) -> Picture:
    """Return a film as 8-bit grey, (rows, columns), turned as its EXIF says; DICOM as displayed.

    Raises ImageError for DICOM, and OSError, SyntaxError or ValueError for pictures, that cannot be
    read; ValueError also where nothing is to be seen.
    """
    if path.suffix.lower() not in PICTURES:
        return np.asarray(np.rint(film_of(path) * 255), dtype=np.uint8)
    with Image.open(path) as picture:
        turned = ImageOps.exif_transpose(picture)
        if turned.mode.startswith(("I", "F")):
            grey = _eight_bits(np.asarray(turned, dtype=np.float32))
        else:
            grey = np.asarray(turned.convert("L"), dtype=np.uint8)
    if grey.min() == grey.max():
        raise ValueError("Every pixel has the same value: the film shows nothing.")
    return grey


def _eight_bits(deep: Values) -> Picture:
    share = np.clip(deep / max(1.0, float(deep.max())), 0, 1)
    return np.asarray(np.rint(share * 255), dtype=np.uint8)


def _written(record: Record, picture: Picture, name: str, images: Path) -> WrittenFilm:
    """Write one film, not larger than it is; its identifier follows from its name in its source."""
    image_id = f"cxr_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    given = (picture.shape[1], picture.shape[0])
    original = record.reading.true_size or given
    columns, rows = _unsquashed(given, original)
    scale = min(1.0, SHORTER_SIDE / min(columns, rows))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = Image.fromarray(picture)
    if size != given:
        small = small.resize(size, Image.Resampling.LANCZOS)
    small.save(images / f"{image_id}.jpg", quality=QUALITY)
    return WrittenFilm(image_id, record, print_of(picture), original, size)


def _unsquashed(given: tuple[int, int], original: tuple[int, int]) -> tuple[float, float]:
    """Return columns and rows in the original's ratio: the side that lost more is stretched."""
    ratio = original[0] / original[1]
    return max(given[0], given[1] * ratio), max(given[1], given[0] / ratio)


def _copy_sets(films: Sequence[WrittenFilm]) -> list[list[WrittenFilm]]:
    """Return the films, copies of one film together: the largest first, then by identifier."""
    pairs = ((films[i].image_id, films[j].image_id) for i, j in copies([f.seen for f in films]))
    group = joined(pairs, (film.image_id for film in films))
    sets: defaultdict[str, list[WrittenFilm]] = defaultdict(list)
    for film in films:
        sets[group[film.image_id]].append(film)
    for same in sets.values():
        same.sort(key=lambda film: (-film.original[0] * film.original[1], film.image_id))
    return list(sets.values())


def _rows(sets: Sequence[Sequence[WrittenFilm]], seed: int) -> tuple[Row, ...]:
    patients = [[film.record.patient for film in same] for same in sets]
    pairs = ((same[0], other) for same in patients for other in same[1:])
    group_of = joined(pairs, (patient for same in patients for patient in same))
    groups = [group_of[same[0]] for same in patients]
    split_of = split_groups(_groups(sets, groups), seed)
    return tuple(
        _row(same, group, split_of[group]) for same, group in zip(sets, groups, strict=True)
    )


def _groups(sets: Sequence[Sequence[WrittenFilm]], groups: Sequence[str]) -> Iterable[PatientGroup]:
    """Return the patient groups, each in the stratum of its source and its first finding."""
    findings: defaultdict[str, list[str]] = defaultdict(list)
    for same, group in zip(sets, groups, strict=True):
        findings[group].append(_finding(same))
    taught_only = {
        group
        for same, group in zip(sets, groups, strict=True)
        if any(film.record.kind.taught_only for film in same)
    }
    for group, found in findings.items():
        stratum = (group.split("_")[0], min(found, key=FINDINGS.index))
        yield PatientGroup(group, stratum, len(found), group in taught_only)


def _counted(same: Sequence[WrittenFilm]) -> list[Record]:
    """Return the records whose findings count.

    Where radiologists read what a film looks like, a list of infected patients tells nothing else
    of it: it does not contradict them.
    """
    records = [film.record for film in same]
    if any(record.reading.appearance for record in records):
        return [record for record in records if not record.reading.lists_covid]
    return records


def _finding(same: Sequence[WrittenFilm]) -> str:
    return min((record.finding for record in _counted(same)), key=FINDINGS.index)


def _row(same: Sequence[WrittenFilm], group: str, split: str) -> Row:
    """Return the row of a film and its copies: what the kept one does not tell, a copy may."""
    kept, records, read = same[0], [film.record for film in same], _counted(same)
    finding = _finding(same)
    said = next(record for record in read if record.finding == finding)
    agree = all(record.finding == finding for record in read)
    child = any(record.kind.children for record in records)
    listed = [record for record in records[1:] if record.reading.lists_covid]
    boxes = _boxes_of(same)
    notes = [record.reading.note for record in records] + ["" if agree else "sources_disagree"]
    age = _first(record.age for record in records)
    known = {
        "image_id": kept.image_id, "file": f"images/{kept.image_id}.jpg", "split": split,
        "patient_id": group, "finding": finding, "finding_detail": said.finding_detail,
        "label_basis": _all(record.label_basis for record in read) if agree
        else said.label_basis,
        "origin": kept.record.origin, "source_repo": kept.record.repository,
        "source_path": kept.record.name,
        "other_filenames_same_image": ";".join(record.name for record in records[1:]),
        "source_patient_id": kept.record.patient,
        "licence_note": _all((record.licence_note for record in records), "; "),
        "view": _first((record.view for record in records), "unknown"),
        "age": age,
        "sex": _first(record.sex for record in records),
        "has_lung_mask": "0",
        "rsna_reader_class": _first(record.reader_class for record in records),
        "width": str(kept.size[0]), "height": str(kept.size[1]),
        "orig_width": str(kept.original[0]), "orig_height": str(kept.original[1]),
        "quality_note": _all(notes, ";"), "recommended": "1" if agree and not child else "0",
        "age_group": "child" if child else "adult" if age else "unknown",
        "appearance_class": _first(record.reading.appearance for record in records),
        "covid_list_elsewhere": "1" if any(r.reading.lists_covid for r in records) else "",
        "also_in": _all((f"{r.origin} {Path(r.name).stem}" for r in listed), ";"),
        "patient_id_basis": kept.record.kind.patients,
        "pcr_test": _first(record.reading.pcr for record in records),
        "opacity_box_count": "" if boxes is None else str(len(boxes)),
        "geometry_note": "aspect_restored" if kept.record.reading.true_size else "",
        "source_url": _first(record.reading.url for record in records),
    }  # fmt: skip
    return {column: known.get(column, "") for column in COLUMNS}


def _boxes_of(same: Sequence[WrittenFilm]) -> tuple[Box, ...] | None:
    """Return the opacities drawn on a film, or on a copy of it, in pixels of the kept one.

    None where nobody drew any. Copies show the same field.
    """
    size = same[0].size
    for film in same:
        if film.record.reading.boxes is not None:
            across, down = size[0] / film.original[0], size[1] / film.original[1]
            return tuple(
                (x * across, y * down, width * across, height * down)
                for x, y, width, height in film.record.reading.boxes
            )
    return None


def _box_rows(same: Sequence[WrittenFilm]) -> Iterable[Row]:
    for box in _boxes_of(same) or ():
        values = (same[0].image_id, *(f"{value:.1f}" for value in box))
        yield dict(zip(BOX_COLUMNS, values, strict=True))


def _all(texts: Iterable[str], mark: str = "+") -> str:
    return mark.join(sorted({text for text in texts if text}))


def _first(texts: Iterable[str], unknown: str = "") -> str:
    return next((text for text in texts if text not in {"", unknown}), unknown)


def _write(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Write the table whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["image_id"]))
    part.replace(path)
