"""The table of pictures that a gate learns from: frontal chest radiographs and everything else.

The folder holds ``labels.csv`` (one row a picture) and the images it names.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.analysis import gate
from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import SPLITS, Case

KINDS = tuple(gate.KINDS)
TABLE = "labels.csv"

_GROUP = re.compile(r"\bgroup (.+)$")
_FILM = re.compile(r"\bcx[a-z]_\d+\b")
_OF_SIIM, _OF_COHEN = re.compile(r"siim_(N\d+)"), re.compile(r"(?:cov|cohen)_(\w+)")


@dataclass(frozen=True, slots=True)
class GateCase:
    """One picture. ``label``: one of `KINDS`; ``detail``: hand, knee, awkward: rotated, ….

    ``group``: patient, case or photograph; no group is in two splits. ``films``: the same picture
    by its names in `read_cases`; ``patients``: whose it is, as those tables name him. ``note``: how
    it was made, and what is odd about it.
    """

    image_id: str
    path: Path
    label: str
    detail: str
    age_group: str
    split: str
    group: str
    films: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    note: str = ""


def read_gate(folder: Path) -> tuple[GateCase, ...]:
    """Return the pictures of the table, in its order.

    Raises `TrainingError` when the table or an image is missing, when a word is none of those
    known, or when a group is in two splits.
    """
    table = folder / TABLE
    if not table.is_file():
        raise TrainingError(
            f"No {TABLE} in {folder}.",
            remedy=f"Name the folder of the gate's pictures: it holds {TABLE} and images/.",
        )
    with table.open(newline="", encoding="utf8") as lines:
        try:
            cases = tuple(_case(row, folder) for row in csv.DictReader(lines))
        except KeyError as missing:
            raise TrainingError(f"{table} has no column {missing}.") from missing
    _check(cases)
    return cases


def _case(row: Mapping[str, str], folder: Path) -> GateCase:
    """Return one row; a picture that the table puts into no group is a group of its own."""
    note = row["quality_note"]
    group = _GROUP.search(note)
    name = group[1].strip() if group else row["image_id"]
    return GateCase(
        row["image_id"], folder / row["file"], row["label"], row["detail"], row["age_group"],
        row["split"], name, tuple(_FILM.findall(note)), _patients(name), note,
    )  # fmt: skip


def _patients(group: str) -> tuple[str, ...]:
    """Return the patient of a group by the name that the other tables have for him, if any."""
    if found := _OF_SIIM.fullmatch(group):
        return (found[1],)
    if found := _OF_COHEN.fullmatch(group):
        return (f"cohen_{found[1]}",)
    return ()


def _check(cases: Sequence[GateCase]) -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for case in cases:
        splits[case.group].add(case.split)
        if case.label not in KINDS or case.split not in SPLITS:
            raise TrainingError(
                f"{case.image_id}: no label {case.label!r} or no split {case.split!r}; known: "
                f"{', '.join(KINDS)}; {', '.join(SPLITS)}."
            )
        if not case.path.is_file():
            raise TrainingError(f"{TABLE} names {case.path.name}, which is not in images/.")
    torn = sorted(group for group, found in splits.items() if len(found) > 1)
    if torn:
        raise TrainingError(f"Group {torn[0]} is in more than one split ({len(torn)} such).")


def apart(pictures: Sequence[GateCase], cases: Sequence[Case]) -> tuple[GateCase, ...]:
    """Return the pictures that may be taught and measured together with these films.

    Left out is whatever shows a film, or a patient, that ``cases`` have in another split: taught
    here, it would be measured there.
    """
    split_of = {case.image_id: case.split for case in cases}
    for case in cases:
        split_of |= {name: case.split for name in (case.patient, case.source_patient) if name}
    return tuple(
        picture
        for picture in pictures
        if {split_of.get(name, picture.split) for name in (*picture.films, *picture.patients)}
        <= {picture.split}
    )
