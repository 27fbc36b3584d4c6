"""The trunk with all that begins on it, taught at once: finding, appearance, opacity, severity.

A film teaches whatever is known of it and nothing else. The four networks stay apart, so that each
is stored as a bundle of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from dicom_node.networks import registry
from dicom_node.training.teaching.changes import Extent
from dicom_node.training.teaching.severity_data import MIRRORED_ZONES
from dicom_node.training.teaching.tasks import losses
from dicom_node.training.teaching.tasks.films import FilmTask, unit

SCORES = ("geographic", "opacity")
LESIONS, BOXES, NEGATIVE = 2, 1, 3
"""How the opacities of a film are known: outlined, boxed, or read as none."""

WEIGHTS = {
    "finding": 1.0, "appearance": 0.8, "opacity": 0.6, "map": 2.0, "overlap": 0.5, "zones": 1.0,
    "brixia": 0.5, "level": 0.5, "extents": 0.8, "spread": 0.05, "order": 0.3,
}  # fmt: skip
_APPEARANCE_WEIGHTS = (1.0, 0.8, 1.2, 1.6)
_LEVEL_WEIGHTS = (1.0, 1.5, 0.8)
_DRAWN_WEIGHTS = {LESIONS: 3.0, BOXES: 1.0, NEGATIVE: 0.6}


class ChestTask(FilmTask):
    """Films and what is known of them in, the weighted losses out.

    ``variant``: which EfficientNet-Lite; ``size``: of the films, pixels a side, a multiple of 32.
    Input: ``film`` uint8 (batch, side, side, 1), ``lungs`` uint8 (batch, cells, cells, 1) of 255,
    ``opaque`` uint8 the same of 200, 255 = unknown, ``window`` (batch, 4).
    """

    def __init__(
        self,
        extent: Extent,
        *,
        variant: int,
        size: int,
        dropout: float,
        smoothing: float,
        seed: int,
    ) -> None:
        super().__init__(extent, size=size, seed=seed, name="chest_task")
        self.smoothing = smoothing
        cells = size // 8
        self.root = registry.build(
            "covidnet-pyramid", rows=size, columns=size, variant=variant, dropout=dropout
        )
        self.map = registry.build("opacity-map", rows=cells, columns=cells)
        self.zones = registry.build("opacity-zones", rows=cells, columns=cells, dropout=dropout)
        self.extents = [registry.build("opacity-extent", dropout=dropout) for _ in SCORES]

    @property
    def networks(self) -> Mapping[str, Any]:
        """The detection network, the map, the zones, the two extents."""
        return {
            "covidnet-pyramid": self.root, "opacity-map": self.map, "opacity-zones": self.zones,
            **{f"opacity-extent-{name}": network
               for name, network in zip(SCORES, self.extents, strict=True)},
        }  # fmt: skip

    @property
    def trunk(self) -> Any:
        """The detection network."""
        return self.root

    def shown(self, inputs: Mapping[str, Any], *, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the films, and ``cells``: lungs, opacities, where they are known, moved alike."""
        film, place, mirrored = self.placed(inputs, training=training)
        opaque = ops.cast(inputs["opaque"], "float32")
        known = ops.cast(opaque < 254.0, "float32")
        cells = ops.concatenate([unit(inputs["lungs"]), known * opaque / 200.0, known], axis=-1)
        cells = self.movement.moved(cells, place, self.size // 4)
        lungs = ops.image.resize(cells[..., :1], (self.size, self.size), interpolation="bilinear")
        if training:
            film = self.retouch(film, lungs)
        cells = ops.average_pool(cells, 2, 2, padding="valid")
        return ops.repeat(film, 3, axis=-1), {"mirrored": mirrored, "cells": cells}

    def rest(self, told: Mapping[str, Any], *, training: bool) -> dict[str, Any]:
        """Return the trunk's answers with those of the map, the zones and the two extents."""
        found = dict(told)
        found |= dict(self.map(found.pop("pyramid"), training=training))
        found |= dict(self.zones(found.pop("mapped"), training=training))
        features = found.pop("zone_features")
        for name, network in zip(SCORES, self.extents, strict=True):
            answer = network(features, training=training)
            found |= {f"{name}_{key}": answer[key] for key in ("extent", "lungs", "spread")}
        return found

    def compute_loss(self, _x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        """Return the weighted sum of the losses of all that is known."""
        parts = self.losses_of(losses.on_device(y), y_pred)
        return sum(WEIGHTS[name] * part for name, part in parts.items())

    def losses_of(self, known: Any, found: Any) -> dict[str, Any]:
        """Return each loss by name. ``known``: targets by name; ``found``: see `call`."""
        parts = self._of_classes(known, found) | self._of_map(known, found)
        mirrored = found["mirrored"][:, None]
        swap = ops.array(MIRRORED_ZONES)
        zones = _swapped(known["zones"], mirrored, swap)
        parts["zones"] = losses.mean_of_known(
            losses.yes_or_no(found["opaque"], 0.96 * ops.relu(zones) + 0.02), _known(zones)
        )
        brixia = _swapped(known["brixia"], mirrored, swap)
        parts["brixia"] = losses.mean_of_known(
            losses.absolute(found["zones"] - brixia), _known(brixia) * (0.2 + 0.8 * _above(brixia))
        )
        for place, name in enumerate(SCORES):
            score = known["extents"][:, place]
            error = found[f"{name}_extent"][:, 0] - score
            # Films that were read as normal say little of extents: they count a sixth.
            graded = _known(score) * ops.where(known["drawn"] == NEGATIVE, 0.15, 1.0)
            parts["extents"] = parts.get("extents", 0.0) + losses.mean_of_known(
                losses.absolute(error), graded
            )
            parts["spread"] = parts.get("spread", 0.0) + losses.mean_of_known(
                losses.expected_error(found[f"{name}_spread"][:, 0], error), graded
            )
        parts["order"] = losses.order(
            found["geographic_extent"][:, 0], known["fraction"], _known(known["fraction"])
        )
        return parts

    def _of_classes(self, known: Any, found: Any) -> dict[str, Any]:
        allowed = losses.allowed_classes(found["finding"], known["finding"], self.smoothing)
        told = ops.cast(ops.min(known["finding"], axis=-1) < 0.99, "float32")
        shown = ops.sum(known["appearance"] * ops.array(_APPEARANCE_WEIGHTS), axis=-1)
        appearance = losses.allowed_classes(
            found["appearance"], known["appearance"], self.smoothing
        )
        level = ops.cast(ops.relu(known["level"]), "int32")
        levels = ops.one_hot(level, 3)
        graded = _known(known["level"]) * ops.sum(levels * ops.array(_LEVEL_WEIGHTS), axis=-1)
        return {
            "finding": losses.mean_of_known(allowed, told),
            "appearance": losses.mean_of_known(appearance, shown),
            "opacity": losses.mean_of_known(
                losses.yes_or_no(found["opacity"][:, 0], 0.96 * ops.relu(known["opacity"]) + 0.02),
                _known(known["opacity"]),
            ),
            "level": losses.mean_of_known(
                losses.allowed_classes(found["airspace"], levels, self.smoothing), graded
            ),
        }

    def _of_map(self, known: Any, found: Any) -> dict[str, Any]:
        lungs, opaque, drawn = (found["cells"][..., k : k + 1] for k in range(3))
        counted = drawn * (0.1 + 0.9 * lungs)
        weights = sum(
            ops.where(known["drawn"] == kind, weight, 0.0)
            for kind, weight in _DRAWN_WEIGHTS.items()
        )[:, None, None, None]
        logits = ops.cast(found["opacity_map"], "float32")
        # Boxes are loose: inside one not every place is opaque, outside the lungs none is.
        loose = ops.where(known["drawn"] == BOXES, 0.9, 0.98)[:, None, None, None]
        targets = 0.01 + loose * opaque * ops.cast(lungs > 0.2, "float32")
        has_opacity = ops.cast((known["drawn"] == BOXES) | (known["drawn"] == LESIONS), "float32")
        return {
            "map": losses.mean_of_known(losses.yes_or_no(logits, targets), counted * weights),
            "overlap": losses.mean_of_known(
                losses.overlap(ops.sigmoid(logits), targets, counted), has_opacity
            ),
        }


def _known(values: Any) -> Any:
    return ops.cast(values >= 0.0, "float32")


def _above(values: Any) -> Any:
    return ops.cast(values > 0.0, "float32")


def _swapped(zones: Any, mirrored: Any, swap: Any) -> Any:
    """Return zones (films, 6), right and left exchanged where the film was mirrored."""
    return mirrored * ops.take(zones, swap, axis=1) + (1.0 - mirrored) * zones
