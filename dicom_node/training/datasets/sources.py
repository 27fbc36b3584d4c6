"""The sources that are known, and all their films together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import TrainingError
from dicom_node.training.datasets.covid import ACTUALMED, COHEN, CXNET, FIGURE1, HANNOVER
from dicom_node.training.datasets.folders import (
    KERMANY,
    RADIOGRAPHY,
    RSNA_NORMALS,
    TB,
    TB_PAKISTAN,
)
from dicom_node.training.datasets.nih import NIH, RSNA
from dicom_node.training.datasets.own import OWN
from dicom_node.training.datasets.records import LeftOut, Record, Source
from dicom_node.training.datasets.siim import SIIM

SOURCES: Mapping[str, Source] = {
    source.key: source
    for source in (
        COHEN,
        FIGURE1,
        ACTUALMED,
        HANNOVER,
        CXNET,
        SIIM,
        RADIOGRAPHY,
        NIH,
        RSNA,
        RSNA_NORMALS,
        TB,
        TB_PAKISTAN,
        KERMANY,
        OWN,
    )
}


@dataclass(frozen=True, slots=True)
class Found:
    """The films of some sources; ``left_out`` counts rows of their tables that gave none."""

    records: tuple[Record, ...]
    left_out: Mapping[LeftOut, int]


def read_sources(folders: Mapping[str, Sequence[Path]]) -> Found:
    """Return all films of the named sources, each file once, ordered by source and name.

    Raises `TrainingError` for an unknown source, a missing folder, table or column, and where a
    source has no film that can be used.
    """
    records: dict[Path, Record] = {}
    left_out: Counter[LeftOut] = Counter()
    for key, places in folders.items():
        source = SOURCES.get(key)
        if source is None:
            raise TrainingError(
                f"There is no source {key!r}.", remedy=f"Known: {', '.join(SOURCES)}."
            )
        for folder in places:
            films, reasons = _read(source, folder)
            records |= {film.path.resolve(): film for film in films}
            left_out += reasons
    ordered = sorted(records.values(), key=lambda film: (film.origin, film.name, film.path))
    return Found(tuple(ordered), left_out)


def _read(source: Source, folder: Path) -> tuple[list[Record], Counter[LeftOut]]:
    if not folder.is_dir():
        raise source.refusal(f"there is no folder {folder}.")
    given = list(source.read(folder, source))
    films = [each for each in given if isinstance(each, Record)]
    reasons = Counter(each for each in given if isinstance(each, LeftOut))
    if not films:
        told = ", ".join(f"{each.reason} ({number})" for each, number in reasons.most_common(3))
        raise source.refusal(f"no film of {folder} can be used: {told or 'the table is empty'}.")
    return films, reasons
