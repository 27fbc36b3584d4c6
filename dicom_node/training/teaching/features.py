"""Features of films, computed once: the lower part of a trunk is not taught, nor run again.

Of each film several versions are changed as the course says, seen by the trunk up to one layer, and
kept in a folder: ``features.npy``, float16 (films, versions, rows, columns, channels), and one
array (films, versions, …) for each thing that is known of how a version was changed. Teaching what
lies above then costs a third, and a film is still seen in many ways.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from dicom_node.training.teaching.changes import Extent
from dicom_node.training.teaching.course import Course
from dicom_node.training.teaching.feed import Arrays
from dicom_node.training.teaching.tasks.films import FilmTask

FEATURES, DONE = "features", "done.txt"
_BATCH = 64
OnBatch = Callable[[int, int], None]
"""Called with (films done, of how many)."""


def extents_of(course: Course) -> list[Extent]:
    """Return how far each kept version of a film is changed."""
    return [
        course.mild if course.mild and version % 2 == 0 else course.changes
        for version in range(course.versions)
    ]


def keep_features(
    made: Callable[[Extent, int], FilmTask], course: Course, inputs: Arrays, folder: Path,
    on_batch: OnBatch | None = None,
) -> None:  # fmt: skip
    """Write the features of all films of ``inputs``; versions that are there are left as they are.

    ``made``: (changes, seed) → the task with its initial weights. Raises OSError where the folder
    cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / DONE
    done = int(finished.read_text("ascii")) if finished.is_file() else 0
    count = len(inputs["film"])
    for version, extent in enumerate(extents_of(course)):
        if version < done:
            continue
        task = made(extent, course.seed + 10 * version)
        see = _seen(task, course.kept_at)
        order = np.random.default_rng([course.seed, version]).permutation(count)
        for start in range(0, count, _BATCH):
            chosen = order[start : start + _BATCH]
            # Every call has the same shape: the last one is filled up.
            filled = np.resize(chosen, _BATCH)
            found = see({name: values[filled] for name, values in inputs.items()})
            for name, values in found.items():
                kept = _opened(folder, name, values, count, course.versions)
                kept[chosen, version] = values[: len(chosen)]
            if on_batch:
                on_batch(version * count + start + len(chosen), course.versions * count)
        finished.write_text(f"{version + 1}", encoding="ascii")


def _seen(task: FilmTask, layer: str) -> Callable[[Arrays], dict[str, npt.NDArray[Any]]]:
    """Return a function: inputs → features at the layer, and what is known of the changes."""
    trunk = task.trunk
    lower = keras.Model(trunk.input, trunk.get_layer(layer).output)

    class Seeing(keras.Model):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            films, known = task.shown(inputs, training=True)
            return {FEATURES: lower(films, training=False), **known}

        def build(self, _shapes: Any) -> None:
            self.built = True

    seeing = Seeing(dtype="float32")
    # Keras' compile chooses XLA by itself, which takes minutes on a processor.
    seeing.compile(jit_compile=False)

    def see(inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        found = seeing.predict_on_batch(dict(inputs))
        return {name: np.asarray(values, np.float16) for name, values in found.items()}

    return see


def _opened(
    folder: Path, name: str, values: npt.NDArray[Any], count: int, versions: int
) -> npt.NDArray[Any]:
    path = folder / f"{name}.npy"
    there = path.is_file()
    shape = None if there else (count, versions, *values.shape[1:])
    kept = np.lib.format.open_memmap(path, "r+" if there else "w+", np.float16, shape)
    return np.asanyarray(kept)


def open_features(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the kept arrays by name, read from disk as they are used."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


class DrawnVersions(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of kept versions of films; all random choices follow from (seed, epoch, step).

    ``kept``: see `open_features`; ``targets``: arrays of the same films by name; ``weights``: each
    film's chance. Where it is known who is ``mirrored``, every other draw is mirrored once more.
    """

    def __init__(
        self, kept: Arrays, targets: Arrays, weights: npt.NDArray[np.float64],
        *, batch: int, steps: int, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self._kept, self._targets, self._weights = kept, targets, weights / weights.sum()
        self._batch, self._steps, self._seed, self._epoch = batch, steps, seed, 0

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        chance = np.random.default_rng([self._seed, self._epoch, step])
        films = chance.choice(len(self._weights), self._batch, p=self._weights)
        versions = chance.integers(self._kept[FEATURES].shape[1], size=self._batch)
        inputs = {
            name: np.stack([values[film, k] for film, k in zip(films, versions, strict=True)])
            for name, values in self._kept.items()
        }
        if "mirrored" in inputs:
            turned = chance.random(self._batch) < 0.5
            for name, values in inputs.items():
                if values.ndim == 4:
                    values[turned] = values[turned][:, :, ::-1]
                elif name == "mirrored":
                    values[turned] = 1 - values[turned]
        return inputs, {name: values[films] for name, values in self._targets.items()}

    def on_epoch_end(self) -> None:
        """Draw others in the next epoch."""
        self._epoch += 1


class Upper(keras.Model):  # type: ignore[misc]
    """A task taught from kept features: what lies above ``kept_at``, without what is ``frozen``.

    Input: as `DrawnVersions` gives it. The task's own networks hold the weights.
    """

    def __init__(self, task: FilmTask, course: Course) -> None:
        super().__init__(name="upper", dtype="float32")
        self.task = task
        trunk = task.trunk
        names = [layer.name for layer in trunk.layers]
        last = max(names.index(name) for name in (course.kept_at, course.frozen) if name)
        for layer in trunk.layers[: last + 1]:
            layer.trainable = False
        self.upper = keras.Model(trunk.get_layer(course.kept_at).output, trunk.output)
        if course.norms == "kept":
            for network in task.networks.values():
                _keep_norms(network)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return all outputs by name, and how each film was changed."""
        known = {name: keras.ops.cast(inputs[name], "float32") for name in inputs}
        told = self.upper(known.pop(FEATURES), training=training)
        return self.task.rest(told, training=training) | known

    def build(self, _shapes: Any) -> None:
        """Nothing is left to build: the networks were built with the task."""
        self.built = True

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        """Return the loss of the task."""
        return self.task.compute_loss(x, y, y_pred)


def _keep_norms(network: Any) -> None:
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
