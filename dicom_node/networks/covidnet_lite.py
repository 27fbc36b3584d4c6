"""The detection network on a trunk that others share: lungs in, three classes out.

The film is cropped to the lungs by `lung_unet` before it comes here (``[input] region = "lungs"``
of the bundle). Trunk: `efficientnet_lite`. Two levels of it are joined, so that what decides is
seen on a grid of 14 × 14 over the lungs, which is also the grid of Grad-CAM.

    films    224×224×3     standardised film by film
    shared    14×14×80     stem and stages 1-4 of the trunk, layer "shared": severity begins here
    fine      14×14×112    stage 5
    coarse     7×7×320     stages 6-7, 1×1 to 128, spread to 14×14
    last      14×14×256    1×1 over fine and coarse: the "last convolution" that Grad-CAM explains
    logits     classes     mean over places, dense
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks import efficientnet_lite
from dicom_node.networks.blocks import FilmStandardisation, convolution

SHARED = "shared"
"""Name of the layer where the severity networks leave this one."""

LAST_FILTERS, COARSE_FILTERS = 256, 128


def covidnet_lite(
    *,
    rows: int | None = 224,
    columns: int | None = 224,
    channels: int = 3,
    classes: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: (batch, rows, columns, channels) in [0, 1] → class logits."""
    films = keras.Input((rows, columns, channels), name="films")
    tensor = FilmStandardisation(name="standardise")(films)
    tensor = efficientnet_lite.stages(
        efficientnet_lite.stem(tensor), 0, efficientnet_lite.SHARED_STAGES
    )
    tensor = keras.layers.Activation("linear", name=SHARED)(tensor)
    tensor = upper_half(tensor, dropout)
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = keras.layers.Dropout(dropout, seed=20, name="dropout")(tensor)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(tensor)
    return keras.Model(films, logits, name="covidnet_lite")


def upper_half(tensor: Any, dropout: float) -> Any:
    """Return the upper stages' features, fine and coarse joined, (batch, rows, columns, 256)."""
    fine = efficientnet_lite.stages(tensor, 4, 5)
    coarse = efficientnet_lite.stages(fine, 5, 7)
    coarse = convolution(coarse, COARSE_FILTERS, name="coarse")
    coarse = keras.layers.UpSampling2D(2, interpolation="bilinear", name="spread")(coarse)
    joined = keras.layers.Concatenate(name="join")([fine, coarse])
    joined = keras.layers.SpatialDropout2D(dropout / 3, seed=21, name="join_dropout")(joined)
    return convolution(joined, LAST_FILTERS, name="last")
