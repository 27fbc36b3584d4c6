"""Training: a recipe and labelled films to the weights of the best epoch.

A run is a folder: ``recipe.json`` (as it was), ``state.npz`` (where it stands, replaced after each
epoch), ``history.jsonl`` (one line an epoch), ``best.weights.h5`` (the averaged weights of the
epoch with the lowest validation loss at the served size). A run that was stopped goes on from
``state.npz`` and gives what it would have given without the stop.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.errors import TrainingError
from dicom_node.training.datasets.cases import Data
from dicom_node.training.teaching.lessons.by_recipe import lesson_of
from dicom_node.training.teaching.lessons.lesson import Lesson
from dicom_node.training.teaching.recipe import RECIPE_FILE, Recipe, read_recipe

Arrays = list[npt.NDArray[Any]]
BEST, STATE, HISTORY, RECIPE = "best.weights.h5", "state.npz", "history.jsonl", "recipe.json"


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch gave. ``epoch`` counts from 1; ``validation``: figures by name.

    ``score`` is what epochs are chosen by: lower is better.
    """

    epoch: int
    epochs: int
    size: int
    loss: float
    score: float
    validation: Mapping[str, float]
    seconds: float
    best: bool


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who wants to know: called after every step with (epoch, step, steps), and every epoch."""

    on_step: Callable[[int, int, int], None] | None = None
    on_epoch: Callable[[EpochReport], None] | None = None


@dataclass(slots=True)
class _State:
    """All that one epoch hands to the next."""

    network: Any
    average: Arrays
    epochs_done: int = 0
    steps_done: int = 0
    best_loss: float = math.inf

    def save(self, path: Path) -> None:
        """Replace the state file in one step, so that a kill leaves the old or the new one."""
        arrays = {f"network{i}": a for i, a in enumerate(_values(self.network.variables))}
        arrays |= {
            f"optimizer{i}": a for i, a in enumerate(_values(self.network.optimizer.variables))
        }
        arrays |= {f"average{i}": a for i, a in enumerate(self.average)}
        arrays["counters"] = np.array([self.epochs_done, self.steps_done, self.best_loss])
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)

    def restore(self, path: Path) -> None:
        """Take everything back from the state file."""
        with np.load(path) as stored:
            _assign(self.network.variables, stored, "network")
            _assign(self.network.optimizer.variables, stored, "optimizer")
            self.average = [stored[f"average{i}"] for i in range(len(self.average))]
            epochs, steps, best = stored["counters"]
        self.epochs_done, self.steps_done, self.best_loss = int(epochs), int(steps), float(best)


def train(
    bundle_id: str,
    data: Data,
    models: Path,
    runs: Path,
    *,
    epochs: int | None = None,
    fresh: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Train the network of ``models/<bundle_id>/recipe.toml`` and return the run's folder.

    ``epochs`` shortens or lengthens the recipe. An unfinished run of the same recipe under
    ``runs`` goes on, unless ``fresh`` throws it away. Raises `TrainingError`.
    """
    recipe = read_recipe(models / bundle_id / RECIPE_FILE)
    recipe = recipe.shortened(epochs) if epochs else recipe
    return train_recipe(recipe, data, models, runs, fresh=fresh, watcher=watcher)


def train_recipe(
    recipe: Recipe,
    data: Data,
    models: Path,
    runs: Path,
    *,
    fresh: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Train by a recipe and return the run's folder; see `train`."""
    run = _open_run(recipe, runs, fresh=fresh)
    lesson = lesson_of(recipe, data, models)
    state = _start(lesson)
    if (run / STATE).is_file():
        state.restore(run / STATE)
    while state.epochs_done < recipe.epochs:
        _epoch(lesson, state, run, watcher or Watcher())
    return run


def teach(lesson: Lesson) -> Any:
    """Run the recipe to its last epoch and return the network with its averaged weights.

    Nothing is validated, chosen or kept.
    """
    state = _start(lesson)
    while state.epochs_done < lesson.recipe.epochs:
        _learn(lesson, state, Watcher())
        state.epochs_done += 1
    _set(state.network.weights, state.average)
    return state.network


def _open_run(recipe: Recipe, runs: Path, *, fresh: bool) -> Path:
    """Return the folder of this recipe's run, named by the recipe's digest."""
    run = runs / f"{recipe.id}-{recipe.digest.removeprefix('sha256:')[:8]}"
    if fresh and run.is_dir():
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    (run / RECIPE).write_text(recipe.model_dump_json(indent=1) + "\n", encoding="utf8")
    return run


def _start(lesson: Lesson) -> _State:
    """Return the network to teach, compiled, with everything seeded.

    Raises `TrainingError` where the recipe would choose epochs by something else than the lesson.
    """
    import keras

    recipe = lesson.recipe
    if recipe.choose_by != lesson.chosen_by:
        raise TrainingError(
            f"The recipe of {recipe.id} chooses epochs by {recipe.choose_by!r}; its task "
            f"{recipe.task} judges them by {lesson.chosen_by!r}.",
            remedy=f'Write choose_by = "{lesson.chosen_by}" in the recipe.',
        )
    keras.utils.set_random_seed(recipe.seed)
    network = lesson.network()
    for layer in network.layers:
        if recipe.frozen and layer.name.startswith(recipe.frozen):
            layer.trainable = False
    optimizer = keras.optimizers.AdamW(weight_decay=recipe.weight_decay, global_clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(network.trainable_variables)
    network.compile(optimizer, jit_compile=False, **lesson.losses())
    return _State(network, _values(network.weights))


def _epoch(lesson: Lesson, state: _State, run: Path, watcher: Watcher) -> None:
    """Train one epoch, validate its averaged weights, keep them if best, write the state."""
    began, epoch, recipe = time.monotonic(), state.epochs_done, lesson.recipe
    phase, _ = recipe.phase_of(epoch)
    loss = _learn(lesson, state, watcher)
    with _Averaged(state):
        score, figures = lesson.check(state.network, phase.size)
        best = phase.size == recipe.phases[-1].size and score < state.best_loss
        if best:
            state.best_loss = score
            state.network.save_weights(run / BEST)
    state.epochs_done += 1
    state.save(run / STATE)
    report = EpochReport(
        epoch=epoch + 1,
        epochs=recipe.epochs,
        size=phase.size,
        loss=loss,
        score=score,
        validation=figures,
        seconds=time.monotonic() - began,
        best=best,
    )
    _record(run / HISTORY, report)
    if watcher.on_epoch:
        watcher.on_epoch(report)


def _learn(lesson: Lesson, state: _State, watcher: Watcher) -> float:
    """Show the network one epoch of films; return the mean loss. Raises `TrainingError`."""
    epoch, steps = state.epochs_done, lesson.steps(state.epochs_done)
    losses = []
    for step, batch in enumerate(lesson.batches(epoch)):
        state.network.optimizer.learning_rate = _learning_rate(lesson.recipe, epoch, step / steps)
        losses.append(float(np.ravel(state.network.train_on_batch(batch.films, batch.targets))[0]))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"The loss became {losses[-1]} in epoch {epoch + 1}.",
                remedy="Lower learning_rate in the recipe and train afresh.",
            )
        _average(state, lesson.recipe.ema)
        if watcher.on_step:
            watcher.on_step(epoch, step + 1, steps)
    return float(np.mean(losses))


def _learning_rate(recipe: Recipe, epoch: int, part: float) -> float:
    """Return the rate at ``part`` of the epoch: linear warm-up, then half a cosine to 1 %."""
    phase, within = recipe.phase_of(epoch)
    at = within + part
    if at < phase.warmup_epochs:
        return phase.learning_rate * (0.05 + 0.95 * at / phase.warmup_epochs)
    done = (at - phase.warmup_epochs) / max(1, phase.epochs - phase.warmup_epochs)
    return phase.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _average(state: _State, momentum: float) -> None:
    """Move the running average towards the weights; faster at the beginning."""
    state.steps_done += 1
    keep = min(momentum, (1 + state.steps_done) / (10 + state.steps_done))
    state.average = [
        (keep * old + (1 - keep) * new).astype(old.dtype)
        for old, new in zip(state.average, _values(state.network.weights), strict=True)
    ]


class _Averaged:
    """Within the block the network has its averaged weights."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._own: Arrays = []

    def __enter__(self) -> None:
        self._own = _values(self._state.network.weights)
        _set(self._state.network.weights, self._state.average)

    def __exit__(self, *exception: object) -> None:
        _set(self._state.network.weights, self._own)


def _record(path: Path, report: EpochReport) -> None:
    """Append the epoch; lines of epochs that a stop undid are dropped."""
    lines = path.read_text(encoding="utf8").splitlines() if path.is_file() else []
    lines = [line for line in lines if json.loads(line)["epoch"] < report.epoch]
    lines.append(json.dumps(asdict(report)))
    path.write_text("\n".join(lines) + "\n", encoding="utf8")


def _values(variables: Sequence[Any]) -> Arrays:
    import keras

    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _set(variables: Sequence[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _assign(variables: Sequence[Any], stored: Any, name: str) -> None:
    for index, variable in enumerate(variables):
        variable.assign(stored[f"{name}{index}"])
