"""The severity networks: airspace level and zones (CXR-S), geographic and opacity extent (S).

Aboutalebi et al., "COVID-Net CXR-S", 2021; Wong et al., "COVID-Net S", 2020. They begin at the
shared half of `covidnet_lite`, have an upper half of their own (severity is not presence: the
detection network's last features have forgotten it) and look at the lungs zone by zone::

    shared     14×14×80     from the detection network
    last       14×14×256    own upper half; Grad-CAM explains this
    opacity    14×14×1      part of each cell that is opaque (taught by lesion masks and boxes)
    zones       3×2×257     means of last and opacity over each of the six zones
    scores      6           3 sigmoid(w · zone): the Brixia score of each zone
    airspace    3           dense over the zones: logits of level 0, 1, 2
    extent      1           sum over both lungs of 4 sigmoid(w · lung), lung = mean of its zones

The film is cropped to a square around the lungs, so thirds of the rows are the upper, middle and
lower zones and halves of the columns are the lungs, to within what a crop can do.
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks.covidnet_lite import LAST_FILTERS, upper_half

SHARED_SHAPE = (14, 14, 80)
ZONES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower")
"""The six zones in the order of the output, as `findings` names them."""

ZONE_SCORE_MAX, LUNG_SCORE_MAX = 3.0, 4.0
ZONE_FEATURES = LAST_FILTERS + 1


@keras.saving.register_keras_serializable(package="dicom_node")
class ZoneMeans(keras.layers.Layer):  # type: ignore[misc]
    """Means over the six zones of a film that is cropped to the lungs.

    ``y[:, z] = mean of x over zone z``; zones in the order of `ZONES`: thirds of the rows from
    above, first in the left half of the picture (the patient's right lung), then in the right
    half. Input (batch, rows, columns, channels), rows ≥ 3 and columns ≥ 2; output (batch, 6,
    channels).
    """

    def call(self, inputs: Any) -> Any:
        """Return the means, (batch, 6, channels)."""
        rows, columns = inputs.shape[1], inputs.shape[2]
        cuts = [0, round(rows / 3), round(rows * 2 / 3), rows]
        halves = [(0, columns // 2), (columns // 2, columns)]
        means = [
            keras.ops.mean(inputs[:, cuts[k] : cuts[k + 1], left:right], axis=(1, 2))
            for left, right in halves
            for k in range(3)
        ]
        return keras.ops.stack(means, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, 6, channels)."""
        return (input_shape[0], len(ZONES), input_shape[-1])


def covidnet_cxr_s(
    *,
    rows: int | None = 14,
    columns: int | None = 14,
    channels: int = 80,
    classes: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: shared features (batch, 14, 14, 80) → named outputs.

    ``airspace``: logits of the levels, (batch, classes); ``zones``: (batch, 6) in [0, 3];
    ``opacity``: logits of each cell's opaque part, (batch, 14, 14, 1); ``zone_features``: what
    the extent networks begin with, (batch, 6, 257).
    """
    shared = keras.Input((rows, columns, channels), name="shared")
    last = upper_half(shared, dropout)
    opacity = keras.layers.Conv2D(1, 1, dtype="float32", name="opacity")(last)
    opaque = keras.layers.Activation("sigmoid", dtype="float32", name="opaque")(opacity)
    joined = keras.layers.Concatenate(name="with_opacity")([last, opaque])
    zones = ZoneMeans(name="zone_features")(joined)
    dropped = keras.layers.Dropout(dropout, seed=20, name="dropout")(zones)
    scores = keras.layers.Dense(1, name="zone_score")(dropped)
    scores = keras.layers.Reshape((len(ZONES),), name="zone_row")(scores)
    scores = keras.layers.Activation("sigmoid", dtype="float32", name="zone_part")(scores)
    scores = keras.layers.Rescaling(ZONE_SCORE_MAX, dtype="float32", name="zones")(scores)
    level = keras.layers.GlobalAveragePooling1D(name="zone_mean")(dropped)
    level = keras.layers.Dense(32, activation="relu", name="dense")(level)
    level = keras.layers.Concatenate(name="level_join")([level, scores])
    airspace = keras.layers.Dense(classes, dtype="float32", name="airspace")(level)
    outputs = {"airspace": airspace, "zones": scores, "opacity": opacity, "zone_features": zones}
    return keras.Model(shared, outputs, name="covidnet_cxr_s")


def covidnet_s(
    *,
    rows: int | None = len(ZONES),
    columns: int | None = ZONE_FEATURES,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: zone features (batch, 6, 257) → ``extent`` (batch, 1), 0-8.

    One network a score: geographic extent or opacity extent, both lungs summed (0-4 each), by the
    same weights for the right lung and the left.
    """
    zones = keras.Input((rows, columns), name="zone_features")
    _, scores, total = extent_of_lungs(zones, dropout)
    return keras.Model(zones, {"extent": total, "lungs": scores}, name="covidnet_s")


def extent_of_lungs(zones: Any, dropout: float) -> tuple[Any, Any, Any]:
    """Return what zones' features (batch, 6, columns) say of each lung, its score, and the sum.

    Features (batch, 2, 96); scores (batch, 2, 1) in [0, 4]; their sum (batch, 1) in [0, 8].
    """
    lungs = keras.layers.Reshape((2, 3, zones.shape[-1]), name="lungs")(zones)
    hidden = keras.layers.Dropout(dropout, seed=20, name="dropout")(lungs)
    hidden = keras.layers.Dense(32, activation="relu", name="dense")(hidden)
    hidden = keras.layers.Reshape((2, 96), name="lung_row")(hidden)
    parts = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="lung_part")(hidden)
    scores = keras.layers.Rescaling(LUNG_SCORE_MAX, dtype="float32", name="lung_scores")(parts)
    mean = keras.layers.GlobalAveragePooling1D(dtype="float32", name="lung_mean")(scores)
    return hidden, scores, keras.layers.Rescaling(2.0, dtype="float32", name="extent")(mean)
