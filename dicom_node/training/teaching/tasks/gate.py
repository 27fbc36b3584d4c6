"""What a picture is and how it lies: films are turned, inverted and mirrored as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from dicom_node.networks import registry
from dicom_node.training.teaching.changes import Chance, Extent
from dicom_node.training.teaching.tasks import losses
from dicom_node.training.teaching.tasks.films import FilmTask, unit

TURNED, INVERTED, MIRRORED = 0.35, 0.2, 0.3
"""How often a picture is turned (by 90°, 180° or 270°), inverted, mirrored."""

_KIND_WEIGHTS = (1.0, 2.0, 1.0, 1.0)


class GateTask(FilmTask):
    """Whole pictures in, three cross-entropies out.

    Input: ``film`` uint8 (batch, side, side, 1), ``lungs`` uint8 of 255, the same shape at half
    the side (0 where they are not known), ``window`` (batch, 4). Targets: ``kind`` one-hot
    (batch, 4); ``upright``: 1 where it is known how the picture lies; ``child``: −1 unknown.
    """

    def __init__(self, extent: Extent, *, size: int, dropout: float, seed: int) -> None:
        super().__init__(extent, size=size, seed=seed, name="gate_task")
        self.chance = Chance(seed + 2, name="turning")
        self.network = registry.build(
            "chest-gate", rows=size, columns=size, channels=1, dropout=dropout
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """The gate's network."""
        return {"chest-gate": self.network}

    @property
    def trunk(self) -> Any:
        """The gate's network: there is no other."""
        return self.network

    def shown(self, inputs: Mapping[str, Any], *, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the films, and ``done``: how each was turned, inverted and mirrored."""
        film, place, _ = self.placed(inputs, training=training)
        count = ops.shape(film)[0]
        done = ops.zeros((count, 3))
        if training:
            lungs = self.movement.moved(unit(inputs["lungs"]), place, self.size)
            film = self.retouch(film, lungs)
            film, done = self._turned(film, count)
        return film, {"done": done}

    def _turned(self, film: Any, count: Any) -> tuple[Any, Any]:
        """Return the films so changed, and (batch, 3): quarter turns, inverted, mirrored."""
        mirrored = self.chance.happens(count, MIRRORED)
        film = mirrored * ops.flip(film, axis=2) + (1.0 - mirrored) * film
        quarters = ops.floor(self.chance.uniform((count, 1, 1, 1), 1.0, 3.9999))
        quarters = quarters * self.chance.happens(count, TURNED)
        # Clockwise by 90 degrees: rows become columns, then left and right change places.
        right = ops.flip(ops.transpose(film, (0, 2, 1, 3)), axis=2)
        down = ops.flip(ops.flip(film, axis=1), axis=2)
        left = ops.flip(ops.transpose(film, (0, 2, 1, 3)), axis=1)
        for turn, picture in ((1.0, right), (2.0, down), (3.0, left)):
            film = ops.where(ops.abs(quarters - turn) < 0.5, picture, film)
        inverted = self.chance.happens(count, INVERTED)
        film = inverted * (1.0 - film) + (1.0 - inverted) * film
        return film, ops.concatenate([quarters, inverted, mirrored], axis=-1)[:, 0, 0]

    def compute_loss(self, _x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        """Return the sum of the losses of kind, turn and flags."""
        y = losses.on_device(y)
        kind, done, flags = y["kind"], y_pred["done"], y_pred["flags"]
        upright, child = y["upright"], y["child"]
        weights = ops.sum(kind * ops.array(_KIND_WEIGHTS), axis=-1)
        loss = losses.mean_of_known(losses.allowed_classes(y_pred["kind"], kind, 0.02), weights)
        turned = ops.one_hot(ops.cast(done[:, 0], "int32"), 4)
        loss = loss + losses.mean_of_known(
            losses.allowed_classes(y_pred["turned"], turned, 0.02), upright
        )
        for place, (target, known) in enumerate((
            (done[:, 1], upright), (done[:, 2], upright),
            (ops.relu(child), ops.cast(child >= 0, "float32")),
        )):  # fmt: skip
            part = losses.yes_or_no(flags[:, place], 0.98 * target + 0.01)
            loss = loss + 0.5 * losses.mean_of_known(part, known)
        return loss
