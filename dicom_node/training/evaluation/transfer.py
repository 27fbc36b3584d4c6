"""Transfer: what a course teaches of films from hospitals that it was not shown.

The course is taught once with every source, and once without each large one, from the same kept
features and as many steps. The films of the source left out are then asked about: of those all that
are packed, since none taught anything; of the course that saw the source only those of ``val``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.analysis.calibration import flags, probabilities
from dicom_node.chest import FINDING_CLASSES
from dicom_node.training import metrics
from dicom_node.training.datasets.cases import Data
from dicom_node.training.evaluation.bootstrap import Bootstrap
from dicom_node.training.evaluation.card import TRANSFER
from dicom_node.training.evaluation.head import rounded
from dicom_node.training.teaching.calibrate import finding_scale
from dicom_node.training.teaching.course import Course
from dicom_node.training.teaching.courses import (
    Films,
    Telling,
    answers_of,
    packed,
    see,
    task_of,
    teach_upper,
)
from dicom_node.training.teaching.feed import Arrays
from dicom_node.training.teaching.recipe import read_part

TRANSFER_COURSE = "transfer.toml"
EVERY_SOURCE = "none"
Flags = npt.NDArray[np.bool_]


class TransferCourse(Course):
    """A course with the sources that are left out in turn, by what they are called in the table.

    A source is named by how it begins. Sources that may show the same patients are left out
    together.
    """

    left_out: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Films that were asked about, the raw answers, and the probabilities of the three classes."""

    films: Films
    answers: Arrays
    finding: npt.NDArray[np.float64]

    def of(self, which: Flags) -> _Asked:
        return _Asked(
            self.films.of(which), {n: v[which] for n, v in self.answers.items()},
            self.finding[which],
        )  # fmt: skip


def transfer(bundle_id: str, data: Data, models: Path, runs: Path, tell: Telling) -> Path:
    """Teach and measure; return the file of the table, ``models/<bundle_id>/transfer.json``.

    Whatever has been taught under ``runs`` is not taught again. Raises `TrainingError` where there
    is no ``transfer.toml``, or films, lungs or initial weights are missing.
    """
    course = read_part(models / bundle_id / TRANSFER_COURSE, TransferCourse)
    run = runs / f"{course.id}-transfer-{course.digest}"
    films = packed(course, data, models, run, tell)
    learn = films.of(films.split("train"))
    see(course, learn, models, run / "features", tell)
    rows = []
    turns = [(EVERY_SOURCE, ()), *course.left_out.items()]
    for done, (name, sources) in enumerate(turns):
        tell(f"taught without {name}", done, len(turns))
        task = task_of(course, course.changes, course.seed, models)
        chances = np.where(_from(learn, sources), 0.0, learn.chances(course))
        teach_upper(task, course, learn, chances, run / "features", run / f"without-{name}")
        asked = _asked(task, films, sources)
        if name == EVERY_SOURCE:
            known = {group: asked.of(_from(asked.films, own))
                     for group, own in course.left_out.items()}  # fmt: skip
        else:
            rows += _rows(name, asked, known[name])
    tell("taught without each source", len(turns), len(turns))
    path = models / bundle_id / TRANSFER
    lines = ",\n".join(f" {json.dumps(rounded(row))}" for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf8")
    return path


def _from(films: Films, sources: Sequence[str]) -> Flags:
    """Return which films come from one of the sources."""
    return np.array([case.source.startswith(tuple(sources)) for case in films.cases], dtype=bool)


def _asked(task: Any, films: Films, sources: Sequence[str]) -> _Asked:
    """Return what the task says of the films of the sources, of ``val`` where none is left out.

    Temperature, offsets and operating point come from the films of ``val`` of other sources.
    """
    unseen, val = _from(films, sources), films.split("val")
    held = films.of(val & ~unseen)
    told = answers_of(task, held.inputs)
    scale = finding_scale(held.cases, np.asarray(told["finding"], np.float64))
    if sources:
        held = films.of(unseen)
        told = answers_of(task, held.inputs)
    logits = np.asarray(told["finding"], np.float64)
    return _Asked(held, told, probabilities(logits, scale.temperature, scale.offsets))


def _rows(name: str, unseen: _Asked, seen: _Asked) -> list[dict[str, Any]]:
    """Return each figure of the films left out, beside that of the course that knew the source."""
    theirs, ours = _figures(seen), _figures(unseen)
    return [
        {"left_out": name, "figure": says, "without": figure, "with": theirs.get(says)}
        for says, figure in ours.items()
    ]


def _figures(asked: _Asked) -> dict[str, dict[str, Any]]:
    """Return every figure that these films can give, with its interval and how many films."""
    return _of_classes(asked) | _of_opacities(asked)


def _of_classes(asked: _Asked) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    finding = np.array([case.finding for case in asked.films.cases])
    read = np.array([case.appearance_class for case in asked.films.cases])
    named = asked.finding.argmax(axis=1)
    for true in FINDING_CLASSES:
        own = finding == true
        for place, said in enumerate(FINDING_CLASSES):
            if own.any() and said in {true, "normal", "covid19"}:
                found |= _figure(
                    f"films of class {true}: called {said}", asked, own, np.mean,
                    (named == place).astype(float),
                )  # fmt: skip
    pairs = (
        ("COVID-19 against normal, AUC", "normal", "covid19"),
        ("pneumonia against normal, AUC", "normal", "pneumonia"),
        ("COVID-19 against pneumonia, AUC", "pneumonia", "covid19"),
    )
    for says, negative, positive in pairs:
        two = np.isin(finding, (negative, positive))
        columns = [FINDING_CLASSES.index(negative), FINDING_CLASSES.index(positive)]
        scores = asked.finding[:, columns[1]] - asked.finding[:, columns[0]]
        found |= _figure(says, asked, two, metrics.area_under_curve, finding == positive, scores)
    typical = np.asarray(asked.answers["appearance"], np.float64)[:, 1]
    return found | _figure(
        "typical against all other appearances, AUC", asked, read != "", metrics.area_under_curve,
        read == "typical", typical,
    )  # fmt: skip


def _of_opacities(asked: _Asked) -> dict[str, dict[str, Any]]:
    targets, answers = asked.films.targets, asked.answers
    sure = np.isin(targets["opacity"], (0.0, 1.0))
    found = _figure(
        "opacity against none, AUC", asked, sure, metrics.area_under_curve,
        targets["opacity"] == 1, answers["opacity"][:, 0],
    )  # fmt: skip
    zoned = targets["zones"].min(axis=1) >= 0
    found |= _figure(
        "zones with opacity, AUC", asked, zoned, metrics.area_over_all, targets["zones"] > 0,
        answers["opaque"],
    )  # fmt: skip
    some = np.isin(targets["level"], (1, 2))
    return found | _figure(
        "airspace level 2 against 1, AUC of the zones' sum", asked, some, metrics.area_under_curve,
        targets["level"] == 2, flags(answers["opaque"], 1.0).sum(axis=1),
    )  # fmt: skip


def _figure(
    says: str, asked: _Asked, which: Flags, figure: Any, *arrays: npt.NDArray[Any]
) -> dict[str, dict[str, Any]]:
    """Return the figure of some of the films by its name; nothing where they cannot give one."""
    if not which.any():
        return {}
    again = Bootstrap(
        [case.patient for case, own in zip(asked.films.cases, which, strict=True) if own]
    )
    value = asdict(again(figure, *(array[which] for array in arrays)))
    return {} if value["value"] is None else {says: {"films": int(which.sum()), **value}}
