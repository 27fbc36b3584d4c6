"""Outlining the lungs, also where opacity hides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from dicom_node.networks import registry
from dicom_node.training.teaching.changes import Extent
from dicom_node.training.teaching.tasks import losses
from dicom_node.training.teaching.tasks.films import FilmTask, unit


class LungsTask(FilmTask):
    """Whole films and outlines in, cross-entropy plus 1 − Dice out.

    Input: ``film`` uint8 (batch, side, side, 1), ``mask`` uint8 (batch, side/2, side/2, 1) of 255,
    ``asked`` uint8 the same: what counts (between the lungs a convention may leave it open),
    ``window`` (batch, 4).
    """

    def __init__(self, extent: Extent, *, size: int, dropout: float, seed: int) -> None:
        super().__init__(extent, size=size, seed=seed, name="lungs_task")
        self.network = registry.build(
            "lung-unet", rows=size, columns=size, channels=1, dropout=dropout
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """The lungs' network."""
        return {"lung-unet": self.network}

    @property
    def trunk(self) -> Any:
        """The lungs' network: there is no other."""
        return self.network

    def shown(self, inputs: Mapping[str, Any], *, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the films, with outline and what is asked for, moved as the films were."""
        film, place, _ = self.placed(inputs, training=training)
        cells = ops.concatenate([unit(inputs[name]) for name in ("mask", "asked")], axis=-1)
        cells = self.movement.moved(cells, place, self.size)
        # What comes in from outside the film is no lung, and counts.
        inside = self.movement.moved(
            ops.ones_like(inputs["film"], dtype="float32"), place, self.size
        )
        asked = ops.where(inside > 0.5, cells[..., 1:], 1.0)
        if training:
            film = self.retouch(film, cells[..., :1])
        return film, {"mask": cells[..., :1], "asked": ops.cast(asked > 0.5, "float32")}

    def rest(self, told: Any, *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """Return the logits of the outline by name."""
        return {"logits": told}

    def compute_loss(self, _x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        """Return the mean loss of the films, each with its weight."""
        y = losses.on_device(y)
        logits, mask, asked = (ops.cast(y_pred[k], "float32") for k in ("logits", "mask", "asked"))
        entropy = ops.sum(losses.yes_or_no(logits, mask) * asked, axis=(1, 2, 3))
        entropy = entropy / (ops.sum(asked, axis=(1, 2, 3)) + 1.0)
        apart = losses.overlap(ops.sigmoid(logits), mask, asked)
        return losses.mean_of_known(entropy + apart, y["weight"])
