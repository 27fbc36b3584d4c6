"""One table of films from folders of public sources: the papers' COVIDx, rebuilt as a tool.

The same film found twice, in one source or in two, becomes one row, and its patients one group.
Splits are by group, stratified by finding, and follow from the seed alone.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dicom_node.errors import ImageError, TrainingError
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.training.dataset_sources import SOURCES, Record

SHORTER_SIDE, QUALITY = 512, 92
PARTS = (("train", 0.7), ("val", 0.1), ("test", 0.2))
COLUMNS = (
    "image_id", "file", "split", "patient_id", "finding", "finding_detail", "label_basis", "origin",
    "source_path", "other_filenames_same_image", "source_patient_id", "licence_note", "view", "age",
    "sex", "width", "height", "orig_width", "orig_height", "recommended",
)  # fmt: skip
SAME = 0.97
"""Two small pictures that correlate by more are the same film."""

_THUMB = 48
Picture = npt.NDArray[np.uint8]
Thumb = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Film:
    """A film that was read: its grey levels as they are stored, and where it comes from."""

    record: Record
    thumb: Thumb
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built: rows of the table; ``duplicates`` merged; ``unreadable`` files by reason."""

    rows: tuple[Mapping[str, str], ...]
    duplicates: int
    unreadable: Mapping[str, str]

    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Return the number of films by (origin, finding, split)."""
        return Counter((row["origin"], row["finding"], row["split"]) for row in self.rows)


def read_sources(folders: Mapping[str, Sequence[Path]]) -> list[Record]:
    """Return all records of the named sources. Raises `TrainingError` for an unknown one."""
    records: list[Record] = []
    for key, places in folders.items():
        if key not in SOURCES:
            raise TrainingError(
                f"There is no source {key!r}.", remedy=f"Known: {', '.join(sorted(SOURCES))}."
            )
        for folder in places:
            records += SOURCES[key].read(folder, SOURCES[key])
    return records


def build(
    records: Iterable[Record],
    out: Path,
    *,
    seed: int = 2020,
    on_film: Callable[[int, int], None] | None = None,
) -> Built:
    """Write ``cases.csv`` and ``images/`` into ``out`` and return what was built.

    Films are 8-bit grey JPEG of quality 92, the shorter side at most 512 pixels, never enlarged.
    Unreadable files are named and left out. Raises `TrainingError` if nothing is left, or if
    ``out`` holds a table already.
    """
    if (out / "cases.csv").exists():
        raise TrainingError(f"{out} holds a cases.csv already.", remedy="Choose an empty folder.")
    films, unreadable = _read_all(list(records), on_film)
    if not films:
        raise TrainingError("No film of these sources could be read.")
    group_of, kept = _merged(films)
    patients = _patients(films, group_of)
    split_of = splits(
        {patients[i]: films[i].record.finding for i in kept}, Counter(patients[i] for i in kept),
        seed,
    )  # fmt: skip
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = tuple(
        _row(number, i, films, group_of, patients, split_of, out)
        for number, i in enumerate(kept, start=1)
    )
    with (out / "cases.csv").open("w", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return Built(rows, len(films) - len(kept), unreadable)


def _read_all(
    records: Sequence[Record], on_film: Callable[[int, int], None] | None
) -> tuple[list[Film], dict[str, str]]:
    films, unreadable = [], {}
    for number, record in enumerate(records, start=1):
        try:
            picture = read_picture(record.path)
        except (OSError, UnidentifiedImageError, ImageError) as fault:
            unreadable[str(record.path)] = str(fault)
        else:
            films.append(Film(record, _thumb(picture), (picture.shape[1], picture.shape[0])))
        if on_film:
            on_film(number, len(records))
    return films, unreadable


def read_picture(path: Path) -> Picture:
    """Return a film as 8-bit grey, (rows, columns), turned as its EXIF says; DICOM as displayed."""
    if path.suffix.lower() in {".dcm", ".dicom", ""}:
        film = film_of(read_dataset(path.read_bytes()))
        return np.asarray(np.rint(film * 255), dtype=np.uint8)
    with Image.open(path) as picture:
        turned = ImageOps.exif_transpose(picture)
        if turned.mode.startswith("I"):
            deep = np.asarray(turned, dtype=np.float32)
            return np.asarray(np.rint(deep / max(1.0, float(deep.max())) * 255), dtype=np.uint8)
        return np.asarray(turned.convert("L"), dtype=np.uint8)


def _thumb(picture: Picture) -> Thumb:
    """Return the film on 48 × 48, mean 0 and length 1: the same after scaling and compression."""
    small = Image.fromarray(picture).resize((_THUMB, _THUMB), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    values = values - values.mean()
    return np.asarray(values / max(1e-6, float(np.linalg.norm(values))))


def _merged(films: Sequence[Film]) -> tuple[list[int], list[int]]:
    """Return each film's group (the index of its best copy), and the films that are kept.

    Films are compared by their small pictures; of copies the largest is kept, of equal ones the
    first.
    """
    order = sorted(range(len(films)), key=lambda i: (-films[i].size[0] * films[i].size[1], i))
    thumbs = np.stack([film.thumb.ravel() for film in films])
    group_of, kept = list(range(len(films))), np.empty(0, dtype=np.int64)
    for i in order:
        if len(kept):
            alike = thumbs[kept] @ thumbs[i]
            best = int(alike.argmax())
            if alike[best] >= SAME:
                group_of[i] = int(kept[best])
                continue
        kept = np.append(kept, i)
    return group_of, sorted(map(int, kept))


def _patients(films: Sequence[Film], group_of: Sequence[int]) -> list[str]:
    """Return each film's patient group: patients that share a film are one."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for film, best in zip(films, group_of, strict=True):
        one, other = find(film.record.patient), find(films[best].record.patient)
        leader[max(one, other)] = min(one, other)
    return [find(film.record.patient) for film in films]


def splits(
    finding_of: Mapping[str, str], films_of: Mapping[str, int], seed: int
) -> Mapping[str, str]:
    """Return the split of each patient group, stratified by finding.

    Patients of a finding are put in an order that their names and the seed give, and dealt to the
    split that lacks most films. Nothing depends on the order of the records.
    """
    by_finding: defaultdict[str, list[str]] = defaultdict(list)
    for patient, finding in finding_of.items():
        by_finding[finding].append(patient)
    chosen: dict[str, str] = {}
    for patients in by_finding.values():
        total = sum(films_of[patient] for patient in patients)
        lacking = {name: part * total for name, part in PARTS}
        for patient in sorted(patients, key=lambda name: _shuffled(name, seed)):
            name = max(lacking, key=lambda split: lacking[split])
            chosen[patient] = name
            lacking[name] -= films_of[patient]
    return chosen


def _shuffled(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()


def _row(
    number: int,
    index: int,
    films: Sequence[Film],
    group_of: Sequence[int],
    patients: Sequence[str],
    split_of: Mapping[str, str],
    out: Path,
) -> dict[str, str]:
    """Write one film and return its row."""
    record, size = films[index].record, films[index].size
    scale = min(1.0, SHORTER_SIDE / min(size))
    width, height = (max(1, round(side * scale)) for side in size)
    image_id = f"cxr_{number:04d}"
    picture = Image.fromarray(read_picture(record.path))
    if scale < 1:
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.save(out / "images" / f"{image_id}.jpg", quality=QUALITY)
    copies = [
        films[i].record.path.name for i, best in enumerate(group_of) if best == index and i != index
    ]
    return {
        "image_id": image_id, "file": f"images/{image_id}.jpg", "split": split_of[patients[index]],
        "patient_id": patients[index], "finding": record.finding, "finding_detail": record.detail,
        "label_basis": record.basis, "origin": record.origin, "source_path": str(record.path.name),
        "other_filenames_same_image": ";".join(copies), "source_patient_id": record.patient,
        "licence_note": record.licence, "view": record.view, "age": record.age, "sex": record.sex,
        "width": str(width), "height": str(height), "orig_width": str(size[0]),
        "orig_height": str(size[1]), "recommended": "1",
    }  # fmt: skip
