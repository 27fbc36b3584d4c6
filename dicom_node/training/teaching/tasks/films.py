"""What every task does with a film: cut it out, move it, change it, teach what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from dicom_node.training.teaching.changes import Extent, Movement, Retouch
from dicom_node.training.teaching.tasks import losses


class FilmTask(keras.Model):  # type: ignore[misc]
    """A task whose films are cut to ``size`` pixels a side, moved and retouched as ``extent`` says.

    It keeps whole numbers and windows as they come: a network has its own precision.
    """

    def __init__(self, extent: Extent, *, size: int, seed: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.size = size
        self.movement, self.retouch = Movement(extent, seed), Retouch(extent, seed + 1)

    @property
    def networks(self) -> Mapping[str, Any]:
        """The networks that are taught, by the bundle that each is stored as; the trunk first."""
        raise NotImplementedError

    @property
    def trunk(self) -> Any:
        """The network that sees the film; all others begin with what it says."""
        raise NotImplementedError

    def shown(self, inputs: Mapping[str, Any], *, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the films as the trunk sees them, (batch, size, size, channels), and what is known
        of how each was changed, by name, (batch, …).
        """
        raise NotImplementedError

    def rest(self, told: Mapping[str, Any], *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return all outputs by name, from what the trunk told."""
        return dict(told)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return all outputs by name, and how each film was changed."""
        films, known = self.shown(losses.on_device(inputs), training=training)
        return self.rest(self.trunk(films, training=training), training=training) | known

    def build(self, _shapes: Any) -> None:
        """Nothing is left to build: the networks were built with the task."""
        self.built = True

    def placed(self, inputs: Any, *, training: bool) -> tuple[Any, Any, Any]:
        """Return the moved films in [0, 1], the place that moves others alike, who is mirrored.

        ``inputs``: ``film`` uint8 (batch, side, side, 1) and ``window`` (batch, 4).
        """
        place, mirrored = self.movement.place(inputs["window"], training=training)
        return self.movement.moved(unit(inputs["film"]), place, self.size), place, mirrored


def unit(values: Any) -> Any:
    """Return uint8 values as float32 in [0, 1]."""
    return ops.cast(values, "float32") / 255.0
