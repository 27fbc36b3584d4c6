"""What the engine answers to films, kept in a file: figures then cost no pass of the networks.

A file is named by all that decides an answer: weights and manifests of every network that runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.analysis.engine import Engine
from dicom_node.bundles import MANIFEST
from dicom_node.findings import Explanation, FilmFindings, Region
from dicom_node.imaging.opaque import GRID, LEVEL, drawn
from dicom_node.imaging.prepare import resized
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Case, load_masks, read_film
from dicom_node.training.teaching.severity_data import drawn_on

OnFilm = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AnsweredFilm:
    """A film with what was found on it.

    ``overlap``: Dice of the mapped opacity with the outlined one, None where none is outlined.
    ``inside``: the part of the mapped opacity inside drawn lungs, None where none are drawn or
    nothing is mapped.
    """

    case: Case
    findings: FilmFindings
    overlap: float | None = None
    inside: float | None = None


def answers_file(engine: Engine, models: Path, folder: Path) -> Path:
    """Return where the answers of these networks are kept."""
    known = hashlib.sha256()
    for bundle_id in engine.suite_version:
        known.update((models / bundle_id / MANIFEST).read_bytes())
    return folder / f"{known.hexdigest()[:16]}.jsonl"


def answered_films(
    engine: Engine, cases: Sequence[Case], path: Path, on_film: OnFilm | None = None
) -> list[AnsweredFilm]:
    """Return the films with their answers; those that ``path`` does not hold yet are analysed.

    Every answer is written before the next film is looked at, so that a stop loses none. Raises as
    `Engine.analyse`, and OSError where the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = dict(_kept(path))
    found = []
    with path.open("a", encoding="utf8") as stream:
        if stream.tell():
            # After a line that was cut off.
            stream.write("\n")
        for number, case in enumerate(cases, start=1):
            line = known.get(case.image_id)
            if line is None:
                line = _line(engine, case)
                stream.write(json.dumps(line) + "\n")
                stream.flush()
            found.append(
                AnsweredFilm(
                    case, FilmFindings.from_json(line["findings"]), line["overlap"], line["inside"]
                )
            )
            if on_film:
                on_film(number, len(cases))
    return found


def _kept(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a file holds, by image_id; a line that was cut off holds nothing."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        yield line["film"], line


def _line(engine: Engine, case: Case) -> dict[str, Any]:
    film = read_film(case.path)
    findings, explanation = engine.analyse(film, case.image_id)
    overlap, inside = _held_against_drawn(case, (film.shape[0], film.shape[1]), explanation)
    return {
        "film": case.image_id, "findings": findings.to_json(), "overlap": overlap, "inside": inside,
    }  # fmt: skip


def _held_against_drawn(
    case: Case, shape: tuple[int, int], explanation: Explanation
) -> tuple[float | None, float | None]:
    """Return ``overlap`` and ``inside`` of `AnsweredFilm`, of what is mapped opaque as drawn."""
    opacity, overlap, inside = explanation.opacity, None, None
    if opacity is None or (case.lesions is None and case.mask is None):
        return overlap, inside
    film = Region(0, 0, *shape)
    mapped = drawn(opacity, explanation.lungs, film, opacity.region, GRID) > LEVEL
    outlined = drawn_on(case, shape, ())
    if outlined is not None:
        overlap = metrics.dice(resized(outlined, opacity.region, GRID) > LEVEL, mapped)
    if case.mask is not None and mapped.any():
        lungs = resized(load_masks([case], shape)[0].astype(np.float32), opacity.region, GRID)
        inside = float((mapped & (lungs > LEVEL)).sum() / mapped.sum())
    return overlap, inside
