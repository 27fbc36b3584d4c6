"""The detection network whose trunk all others begin with: lungs in, classes and a pyramid out.

The film is cropped to the lungs by `lung_unet` before it comes here (``[input] region = "lungs"``
of the bundle). Trunk: `efficientnet_lite`. Its levels are joined from the coarse to the fine, as
in Lin et al., "Feature pyramid networks", CVPR 2017::

    films     224×224×3     standardised film by film
    eighth     28×28×40     stem and stages 1-3 of the trunk
    fine       14×14×112    stages 4-5
    coarse      7×7×320     stages 6-7, 1×1 to 128, spread to 14×14
    last       14×14×256    1×1 over fine and coarse: the "last convolution" that Grad-CAM explains
    pyramid    28×28×96     last and eighth joined: `opacity_map` begins here
    pooled       512        mean of last over all places, and weighted by learned attention
    finding    classes      logits: normal, pneumonia, COVID-19
    appearance    4         logits: negative, typical, indeterminate, atypical (RSNA's language:
                            Simpson et al., Radiology: Cardiothoracic Imaging 2020)
    opacity       1         logit: any opacity of the lungs
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks import efficientnet_lite
from dicom_node.networks.blocks import FilmStandardisation, convolution, separable

PYRAMID = "pyramid"
"""Name of the layer where the networks of the opacity map leave this one."""

APPEARANCES = ("negative", "typical", "indeterminate", "atypical")
LAST_FILTERS, COARSE_FILTERS, PYRAMID_FILTERS = 256, 128, 96


@keras.saving.register_keras_serializable(package="dicom_node")
class AttentionPooling(keras.layers.Layer):  # type: ignore[misc]
    """The mean over places, weighted by how much each place counts.

    ``y = Σ a x / (Σ a + 1e-3)`` with ``a`` in [0, 1]; input: features (batch, rows, columns,
    channels) and weights (batch, rows, columns, 1); output (batch, channels).
    """

    def call(self, inputs: Any) -> Any:
        """Return the weighted means, (batch, channels)."""
        features, weights = inputs
        total = keras.ops.sum(weights, axis=(1, 2))
        return keras.ops.sum(features * weights, axis=(1, 2)) / (total + 1e-3)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return (batch, channels)."""
        return (input_shape[0][0], input_shape[0][-1])


def covidnet_pyramid(
    *,
    rows: int | None = 224,
    columns: int | None = 224,
    channels: int = 3,
    classes: int = 3,
    variant: int = 0,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: (batch, rows, columns, channels) in [0, 1] → named logits.

    ``finding`` (batch, classes), ``appearance`` (batch, 4), ``opacity`` (batch, 1), and the
    features ``pyramid`` (batch, rows/8, columns/8, 96). Rows and columns are multiples of 32.
    ``variant``: which EfficientNet-Lite, 0 to 2.
    """
    films = keras.Input((rows, columns, channels), name="films")
    tensor = FilmStandardisation(name="standardise")(films)
    eighth = efficientnet_lite.stages(efficientnet_lite.stem(tensor), 0, 3, variant)
    fine = efficientnet_lite.stages(eighth, 3, 5, variant)
    coarse = convolution(
        efficientnet_lite.stages(fine, 5, 7, variant), COARSE_FILTERS, name="coarse"
    )
    last = convolution(_joined(fine, coarse, "join", dropout), LAST_FILTERS, name="last")
    weights = keras.layers.Conv2D(1, 1, activation="sigmoid", name="attention")(last)
    pooled = keras.layers.Concatenate(name="pooled")(
        [
            keras.layers.GlobalAveragePooling2D(name="pool")(last),
            AttentionPooling(name="attended")([last, weights]),
        ]
    )
    pooled = keras.layers.Dropout(dropout, seed=20, name="dropout")(pooled)
    outputs = {
        name: keras.layers.Dense(count, dtype="float32", name=name)(pooled)
        for name, count in (("finding", classes), ("appearance", len(APPEARANCES)), ("opacity", 1))
    }
    lateral = convolution(last, PYRAMID_FILTERS, name="lateral")
    joined = _joined(eighth, lateral, "eighth_join", dropout)
    pyramid = separable(joined, PYRAMID_FILTERS, name="pyramid_smooth")
    outputs[PYRAMID] = keras.layers.Activation("linear", name=PYRAMID)(pyramid)
    return keras.Model(films, outputs, name="covidnet_pyramid")


def _joined(fine: Any, coarse: Any, name: str, dropout: float) -> Any:
    """Return the coarse level spread to the fine one's grid, and both side by side."""
    spread = keras.layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_spread")(coarse)
    joined = keras.layers.Concatenate(name=name)([fine, spread])
    return keras.layers.SpatialDropout2D(dropout / 3, seed=21, name=f"{name}_dropout")(joined)
