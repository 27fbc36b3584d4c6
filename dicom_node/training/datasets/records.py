"""What a reader of a source gives, and the few things that all readers need."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import Box
from dicom_node.training.datasets.words import ADULT, age_of, sex_of, view_of


@dataclass(frozen=True, slots=True)
class Kind:
    """How the films of a source may be used.

    ``children``: all are children's, which no network of adults learns from unless asked.
    ``taught_only``: they may show patients of another source without saying so, so that none may be
    validated or tested on. ``patients``: where their names come from.
    """

    children: bool = False
    taught_only: bool = False
    patients: str = "source metadata"


@dataclass(frozen=True, slots=True)
class Reading:
    """What only some sources tell of a film.

    ``appearance``: one of `words.APPEARANCES`. ``boxes``: opacities as drawn, in pixels of the
    original; none found is not the same as nobody looked. ``true_size``: columns and rows of the
    original, where the file is a copy of it that was squashed. ``lists_covid``: the source is a
    list of patients with COVID-19, whatever a film shows. ``note``: of its quality.
    """

    appearance: str = ""
    boxes: tuple[Box, ...] | None = None
    true_size: tuple[int, int] | None = None
    lists_covid: bool = False
    pcr: str = ""
    url: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled frontal film. ``patient`` is unique among all sources.

    ``name``: the file within the source's folder. Texts that are not told are empty. Films of
    children come only from sources of children.
    """

    path: Path
    name: str
    finding: str
    finding_detail: str
    label_basis: str
    origin: str
    repository: str
    patient: str
    view: str
    age: str
    sex: str
    licence_note: str
    reader_class: str = ""
    reading: Reading = Reading()
    kind: Kind = Kind()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of a source's table that gives no record, and why."""

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A known source: its name in the table, what its folder must hold, its licence, its reader."""

    key: str
    origin: str
    repository: str
    layout: str
    licence: str
    read: Callable[[Path, Source], Iterator[Record | LeftOut]]
    kind: Kind = Kind()

    def refusal(self, what: str) -> TrainingError:
        """Return the error that this source's folder cannot be read, with what it must hold."""
        return TrainingError(
            f"{self.key}: {what}",
            remedy=f"{self.origin} needs: {self.layout}. See `dicom-node dataset sources`.",
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source's table says of a film, in its own words."""

    finding: str
    finding_detail: str
    patient: str
    view: str = ""
    age: str = ""
    sex: str = ""
    modality: str = ""
    label_basis: str = "source_metadata"
    licence_note: str = ""
    reader_class: str = ""
    reading: Reading = Reading()


def made(source: Source, folder: Path, path: Path | None, facts: Facts) -> Record | LeftOut:
    """Return the record of a film, or why there is none: no diagnosis, not frontal, a child."""
    view, age = view_of(facts.view), age_of(facts.age)
    reason = _fault(path, facts, view, "" if source.kind.children else age)
    if reason or path is None:
        return LeftOut(source.origin, reason)
    return Record(
        path=path,
        name=path.relative_to(folder).as_posix(),
        finding=facts.finding,
        finding_detail=facts.finding_detail.strip(),
        label_basis=facts.label_basis,
        origin=source.origin,
        repository=source.repository,
        patient=facts.patient,
        view=view,
        age=age,
        sex=sex_of(facts.sex),
        licence_note=facts.licence_note or source.licence,
        reader_class=facts.reader_class,
        reading=facts.reading,
        kind=source.kind,
    )


def _fault(path: Path | None, facts: Facts, view: str, age: str) -> str:
    if facts.modality.strip().lower() not in {"", "x-ray", "cr", "dx"}:
        return "no radiograph"
    if not view:
        return "not frontal"
    if not facts.finding:
        return "no diagnosis told"
    if age and int(age) < ADULT:
        return "not an adult"
    if path is None or not path.is_file():
        return "file missing"
    return ""


def rows(folder: Path, source: Source, name: str, need: Sequence[str]) -> Iterator[dict[str, str]]:
    """Return the rows of a table, UTF-8 or Latin-1, absent values empty.

    Raises `TrainingError` where the table, or one of the columns that ``need`` names, is missing.
    """
    path = folder / name
    if not path.is_file():
        raise source.refusal(f"there is no {name} in {folder}.")
    table = csv.DictReader(io.StringIO(_text(path), newline=""))
    absent = [column for column in need if column not in (table.fieldnames or ())]
    if absent:
        raise source.refusal(f"{path} has no column {', '.join(absent)}.")
    return ({key: value or "" for key, value in row.items() if key} for row in table)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def pictures(folder: Path, pattern: str) -> Mapping[str, Path]:
    """Return the pictures below a folder by their names."""
    return {path.name: path for path in sorted(folder.glob(pattern))}
