"""Where the lungs are opaque, and how much: the map, the zones and level, the two extents.

One begins with the other, so that number and picture come from the same places::

    pyramid    28×28×96    from the detection network (`covidnet_pyramid`)
    opacity_map  28×28×1   logit of opacity at each place, an eighth of the film's rows and columns
    mapped     28×28×65    features of the map, and its probability
    zone_features 6×195    of each zone: mean and opacity-weighted mean of mapped; the film's mean
    zones         6        score 0-3 of each zone: 0.5 and more where it has opacities
    airspace      3        logits of level 0, 1, 2: none, one or two, three or more zones
    extent        1        both lungs' extents summed, 0-4 each (COVID-Net S)
    spread        1        how far the extent is off on such films, points

The film is cropped to a square around the lungs, so thirds of the rows are the upper, middle and
lower zones and halves of the columns are the lungs, to within what a crop can do. Levels:
Aboutalebi et al., "COVID-Net CXR-S", 2021; extents: Wong et al., "COVID-Net S", 2020.
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks.blocks import separable
from dicom_node.networks.covidnet_pyramid import PYRAMID_FILTERS
from dicom_node.networks.covidnet_s import ZONES, ZoneMeans, extent_of_lungs

MAPPED, ZONE_FEATURES = "mapped", "zone_features"
MAP_FILTERS = 64
MAPPED_CHANNELS = MAP_FILTERS + 1
ZONE_CHANNELS = 3 * MAPPED_CHANNELS


def opacity_map(
    *,
    rows: int | None = 28,
    columns: int | None = 28,
    channels: int = PYRAMID_FILTERS,
    classes: int = 1,
    dropout: float = 0.1,
) -> keras.Model:
    """Return the untrained network: pyramid features → ``opacity_map`` and ``mapped``.

    ``opacity_map``: logits, (batch, rows, columns, classes); ``mapped``: (batch, rows, columns,
    65), its last channel the probability.
    """
    pyramid = keras.Input((rows, columns, channels), name="pyramid")
    tensor = separable(pyramid, MAP_FILTERS, name="map_a", size=5)
    tensor = separable(tensor, MAP_FILTERS, name="map_b", size=5)
    dropped = keras.layers.SpatialDropout2D(dropout, seed=22, name="map_dropout")(tensor)
    logits = keras.layers.Conv2D(classes, 1, dtype="float32", name="opacity_map")(dropped)
    probability = keras.layers.Activation("sigmoid", name="opaque")(logits)
    mapped = keras.layers.Concatenate(name=MAPPED)([tensor, probability])
    return keras.Model(pyramid, {"opacity_map": logits, MAPPED: mapped}, name="opacity_map")


@keras.saving.register_keras_serializable(package="dicom_node")
class ZonePooling(ZoneMeans):
    """What each zone holds: means, means weighted by opacity, and the means of the whole film.

    The last channel of the input is the probability of opacity, by which the second part is
    weighted. Input (batch, rows, columns, channels); output (batch, 6, 3 channels), zones as of
    `ZoneMeans`.
    """

    def call(self, inputs: Any) -> Any:
        """Return the zones' features, (batch, 6, 3 channels)."""
        weights = inputs[..., -1:]
        means = super().call(inputs)
        weighted = super().call(inputs * weights) / (super().call(weights) + 0.01)
        film = keras.ops.mean(means, axis=1, keepdims=True)
        return keras.ops.concatenate(
            [means, weighted, keras.ops.broadcast_to(film, keras.ops.shape(means))], axis=-1
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, 6, 3 channels)."""
        channels = input_shape[-1]
        return (input_shape[0], len(ZONES), None if channels is None else 3 * channels)


@keras.saving.register_keras_serializable(package="dicom_node")
class ZoneScores(keras.layers.Layer):  # type: ignore[misc]
    """From two values of a zone to its score: is it opaque, and if so, how much.

    With p = sigmoid(first) and s = sigmoid(second): ``score = p`` up to one half, where a zone
    begins to count as opaque, then ``0.5 + (2 p − 1) (0.5 + 2 s)``, up to 3. Input (batch, 6, 2),
    output (batch, 6) in [0, 3].
    """

    def call(self, inputs: Any) -> Any:
        """Return the scores, (batch, 6)."""
        parts = keras.ops.sigmoid(keras.ops.cast(inputs, "float32"))
        opaque, much = parts[..., 0], parts[..., 1]
        above = keras.ops.relu(2.0 * opaque - 1.0)
        return keras.ops.minimum(opaque, 0.5) + above * (0.5 + 2.0 * much)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, 6)."""
        return input_shape[:-1]


@keras.saving.register_keras_serializable(package="dicom_node")
class LevelsOfZones(keras.layers.Layer):  # type: ignore[misc]
    """How likely no, one or two, three or more zones are opaque, if each is so by itself.

    Input: logits of the zones, (batch, 6); output: log probabilities of the levels, (batch, 3),
    by the distribution of a sum of independent events (Poisson binomial).
    """

    def call(self, inputs: Any) -> Any:
        """Return the log probabilities, (batch, 3)."""
        opaque = keras.ops.sigmoid(keras.ops.cast(inputs, "float32"))
        none, one, two = 1.0 - opaque[:, :1], opaque[:, :1], 0.0 * opaque[:, :1]
        for zone in range(1, len(ZONES)):
            p = opaque[:, zone : zone + 1]
            two = two * (1.0 - p) + one * p
            one = one * (1.0 - p) + none * p
            none = none * (1.0 - p)
        few = one + two
        many = keras.ops.relu(1.0 - none - few)
        return keras.ops.log(keras.ops.concatenate([none, few, many], axis=-1) + 1e-4)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, 3)."""
        return (input_shape[0], 3)


def opacity_zones(
    *,
    rows: int | None = 28,
    columns: int | None = 28,
    channels: int = MAPPED_CHANNELS,
    classes: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: mapped features → ``zones``, ``airspace``, `ZONE_FEATURES`.

    ``zones``: scores (batch, 6) in [0, 3], in the order of `ZONES`; ``airspace``: logits of the
    levels, (batch, classes); ``opaque``: the logits by which each zone is opaque, (batch, 6);
    ``zone_features``: (batch, 6, 195).
    """
    mapped = keras.Input((rows, columns, channels), name=MAPPED)
    zones = ZonePooling(dtype="float32", name=ZONE_FEATURES)(mapped)
    hidden = keras.layers.Dropout(dropout, seed=20, name="dropout")(zones)
    hidden = keras.layers.Dense(48, activation="relu", name="zone_dense")(hidden)
    logits = keras.layers.Dense(2, dtype="float32", name="zone_logits")(hidden)
    scores = ZoneScores(dtype="float32", name="zones")(logits)
    opaque = keras.layers.Cropping1D((0, 1), name="zone_opaque")(
        keras.layers.Permute((2, 1), name="zone_rows")(logits)
    )
    opaque = keras.layers.Reshape((len(ZONES),), name="zone_row")(opaque)
    levels = LevelsOfZones(dtype="float32", name="levels")(opaque)
    film = keras.layers.GlobalAveragePooling1D(name="zone_mean")(hidden)
    shift = keras.layers.Dense(
        classes, kernel_initializer="zeros", dtype="float32", name="level_shift"
    )(film)
    airspace = keras.layers.Add(dtype="float32", name="airspace")([levels, shift])
    outputs = {"airspace": airspace, "zones": scores, "opaque": opaque, ZONE_FEATURES: zones}
    return keras.Model(mapped, outputs, name="opacity_zones")


def opacity_extent(
    *,
    rows: int | None = len(ZONES),
    columns: int | None = ZONE_CHANNELS,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: zone features (batch, 6, 195) → ``extent``, ``lungs``, spread.

    One network a score: geographic extent or opacity extent, ``extent`` (batch, 1) in [0, 8] the
    sum of both ``lungs`` (batch, 2) in [0, 4], by the same weights for the right lung and the
    left; ``spread`` (batch, 1), above 0: the expected absolute error.
    """
    zones = keras.Input((rows, columns), name=ZONE_FEATURES)
    hidden, scores, total = extent_of_lungs(zones, dropout)
    film = keras.layers.GlobalAveragePooling1D(name="lung_features")(hidden)
    spread = keras.layers.Dense(
        1, activation="softplus", kernel_initializer="zeros", dtype="float32", name="spread"
    )(film)
    return keras.Model(
        zones, {"extent": total, "lungs": scores, "spread": spread}, name="opacity_extent"
    )
