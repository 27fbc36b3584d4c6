"""A course from films to bundles: pack, features, teaching, calibration, files.

A run is a folder named by the course and its digest. Whatever it has finished is not done again, so
that a course may be taught in pieces: the same command goes on where it was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from dicom_node.analysis.alone import lung_finder
from dicom_node.bundles import open_bundle
from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import Data, read_boxes, read_cases
from dicom_node.training.datasets.gate import TABLE, read_gate
from dicom_node.training.teaching import gate_packs, packs
from dicom_node.training.teaching.changes import Extent
from dicom_node.training.teaching.course import Course
from dicom_node.training.teaching.features import (
    DrawnVersions,
    Upper,
    keep_features,
    open_features,
)
from dicom_node.training.teaching.feed import Arrays, DrawnFilms, draw_weights
from dicom_node.training.teaching.fit import compiled, fit
from dicom_node.training.teaching.initial import load_initial
from dicom_node.training.teaching.tasks.chest import ChestTask
from dicom_node.training.teaching.tasks.films import FilmTask
from dicom_node.training.teaching.tasks.gate import GateTask

INPUTS = {"chest": ("film", "lungs", "opaque", "window"), "gate": ("film", "lungs", "window")}
Telling = Callable[[str, int, int], None]
"""Called with what is done, how much of it, of how much."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended: its task with the averaged weights, and what it says of ``val``.

    ``answers``: outputs by name, films first; ``targets`` and ``cases``: of the same films.
    """

    course: Course
    task: FilmTask
    answers: Arrays
    targets: Arrays
    cases: Sequence[Any]
    taught: Sequence[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Packed films of a course: cases, the task's inputs, targets; arrays by name, films first."""

    cases: Sequence[Any]
    inputs: Arrays
    targets: Arrays

    def split(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which films are of a split, (films,)."""
        return np.array([case.split == name for case in self.cases], dtype=bool)

    def of(self, which: npt.NDArray[np.bool_]) -> Films:
        """Return the films of which ``which``, (films,), is true."""
        return Films(
            [case for case, wanted in zip(self.cases, which, strict=True) if wanted],
            {name: values[which] for name, values in self.inputs.items()},
            {name: values[which] for name, values in self.targets.items()},
        )

    def chances(self, course: Course) -> npt.NDArray[np.float64]:
        """Return how often the course draws each film, (films,), sum 1."""
        return _weights(course, self.cases, self.targets)


class Stop(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a piece of a course after the epoch in which its time is over."""

    def __init__(self, minutes: float, on_epoch: Telling, epochs: int) -> None:
        super().__init__()
        self._until = time.monotonic() + 60 * minutes
        self._on_epoch, self._epochs = on_epoch, epochs
        self.last = -1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Say where the course stands; stop where its time is over."""
        self.last = epoch
        self._on_epoch(f"loss {(logs or {}).get('loss', 0.0):.3f}", epoch + 1, self._epochs)
        if time.monotonic() > self._until:
            self.model.stop_training = True


def task_of(course: Course, extent: Extent, seed: int, models: Path) -> FilmTask:
    """Return the course's task with its initial weights, films changed as ``extent`` says."""
    keras.utils.set_random_seed(course.seed)
    if course.task == "chest":
        task: FilmTask = ChestTask(
            extent, variant=course.variant, size=course.size, dropout=course.dropout,
            smoothing=course.label_smoothing, seed=seed,
        )  # fmt: skip
    else:
        task = GateTask(extent, size=course.size, dropout=course.dropout, seed=seed)
    for bundle_id, network in task.networks.items():
        name = course.initial
        if name.startswith("bundle:"):
            # The other networks of the task begin with the bundles of their own names.
            name = f"bundle:{bundle_id}"
        elif network is not task.trunk:
            name = ""
        load_initial(network, name, models)
    return task


def teach(
    course: Course, data: Data, models: Path, runs: Path, tell: Telling,
    minutes: float = float("inf"),
) -> EndedRun | None:  # fmt: skip
    """Teach the course, or the next ``minutes`` of it; return the ended run, or None if cut short.

    ``data``: see `read_cases`; the gate's course needs the folder of the gate's pictures among
    them. Raises `TrainingError` where films, lungs or initial weights are missing.
    """
    run = runs / f"{course.id}-{course.digest}"
    films = packed(course, data, models, run, tell)
    learn, held = films.of(films.split("train")), films.of(films.split("val"))
    task = task_of(course, course.changes, course.seed, models)
    stop = Stop(minutes, tell, course.epochs)
    if course.kept_at:
        see(course, learn, models, run / "features", tell)
        teach_upper(task, course, learn, learn.chances(course), run / "features", run, (stop,))
    else:
        feed = DrawnFilms(
            learn.inputs, learn.targets, np.arange(len(learn.cases)), learn.chances(course),
            batch=course.batch, steps=course.steps, seed=course.seed,
        )  # fmt: skip
        fit(compiled(task, course), feed, course, run, (stop,))
    if 0 <= stop.last < course.epochs - 1:
        return None
    return EndedRun(
        course, task, answers_of(task, held.inputs), held.targets, held.cases, learn.cases
    )


def packed(course: Course, data: Data, models: Path, run: Path, tell: Telling) -> Films:
    """Return the films of the splits ``train`` and ``val``, packed in ``run`` if they are not yet.

    Raises `TrainingError` where films or lungs are missing.
    """
    cases = list(_cases(course, data))
    pack = run / "pack"
    if not (pack / "targets.npz").is_file():
        _write_pack(course, cases, data, models, pack, tell)
    return Films(cases, *_arrays(course, pack))


def see(course: Course, films: Films, models: Path, folder: Path, tell: Telling) -> None:
    """Keep in ``folder`` what the lower part of the trunk sees of changed versions of the films."""
    keep_features(
        lambda extent, seed: task_of(course, extent, seed, models), course, films.inputs, folder,
        lambda done, of: tell("films are changed and seen", done, of),
    )  # fmt: skip


def teach_upper(
    task: FilmTask, course: Course, films: Films, chances: npt.NDArray[np.float64],
    features: Path, run: Path, callbacks: tuple[Any, ...] = (),
) -> None:  # fmt: skip
    """Teach what lies above `see`'s features; ``chances``: how often each film is drawn, (films,).

    A run that was stopped goes on; see `fit`.
    """
    feed = DrawnVersions(
        open_features(features), films.targets, chances,
        batch=course.batch, steps=course.steps, seed=course.seed,
    )  # fmt: skip
    fit(compiled(Upper(task, course), course), feed, course, run, callbacks)


def _cases(course: Course, data: Data) -> Sequence[Any]:
    """Return the films of the splits ``train`` and ``val``, without sources that are left out."""
    films = [
        case for case in read_cases(data)
        if case.split != "test" and not case.source.startswith(tuple(course.without) or ("\0",))
    ]  # fmt: skip
    if course.task != "gate":
        return films
    folders = [data] if isinstance(data, Path) else list(data)
    found = [folder for given in folders for folder in (given, *sorted(given.glob("*/")))
             if (folder / TABLE).is_file()]  # fmt: skip
    if not found:
        raise TrainingError(
            f"A gate learns from a folder with {TABLE}, and none is among the data.",
            remedy="Name it too: --data FOLDER.",
        )
    return gate_packs.pictures(read_gate(found[0]), read_cases(data, recommended_only=False))


def _write_pack(
    course: Course, cases: Sequence[Any], data: Data, models: Path, folder: Path, tell: Telling
) -> None:
    finder = lung_finder(open_bundle(models, "lung-unet"))

    def on_film(done: int, of: int) -> None:
        tell("films are packed", done, of)

    if course.task == "gate":
        gate_packs.write_pack(cases, finder.find, folder, on_film)
    else:
        packs.write_pack(cases, read_boxes(data), finder.find, folder, on_film)


def _arrays(course: Course, folder: Path) -> tuple[Arrays, Arrays]:
    """Return inputs and targets of the pack by name."""
    found = dict(np.load(folder / "targets.npz"))
    found["film"] = np.load(folder / "films.npy", mmap_mode="r")[..., None]
    if course.task == "chest":
        found["opaque"] = found.pop("opacity_map")[..., None]
    found["lungs"] = found["lungs"][..., None]
    inputs = {name: found.pop(name) for name in INPUTS[course.task]}
    return inputs, found


def _weights(course: Course, cases: Sequence[Any], targets: Arrays) -> npt.NDArray[np.float64]:
    """Return each film's chance of being drawn, (films,)."""
    if course.task == "gate":
        return gate_packs.chances(cases)
    groups = np.array([packs.group_of(case) for case in cases])
    weights = draw_weights(groups, course.group_exponent)
    for place, case in enumerate(cases):
        for kind, factor in course.favoured.items():
            if packs.is_kind(kind, case, float(targets["drawn"][place])):
                weights[place] *= factor
    return np.asarray(weights / weights.sum())


def answers_of(task: FilmTask, inputs: Arrays, batch: int = 64) -> Arrays:
    """Return what the task says of films that are not changed, by name."""
    found: dict[str, list[npt.NDArray[Any]]] = {}
    count = len(inputs["film"])
    task.compile(jit_compile=False)
    for start in range(0, count, batch):
        chosen = np.arange(start, min(start + batch, count))
        filled = np.resize(chosen, batch)
        told = task.predict_on_batch({name: values[filled] for name, values in inputs.items()})
        for name, values in told.items():
            found.setdefault(name, []).append(np.asarray(values, np.float32)[: len(chosen)])
    return {name: np.concatenate(parts) for name, parts in found.items()}
