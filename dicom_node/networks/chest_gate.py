"""The input gate: what a picture is, and how it lies, before anything else looks at it.

The lower two thirds of EfficientNet-Lite0 (`efficientnet_lite`) on the whole film, small. What
decides is seen on a grid of 9 × 9::

    film      144×144×1     standardised film by film
    features    9×9×112     stem and stages 1-5 of the trunk
    last        9×9×192     1×1
    kind          4         frontal chest, lateral chest, other radiograph, no radiograph
    turned        4         how the film is turned, clockwise: not, by 90°, by 180°, by 270°
    flags         3         inverted, mirrored, child
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.findings import TURNS
from dicom_node.networks import efficientnet_lite
from dicom_node.networks.blocks import FilmStandardisation, convolution

KINDS = ("frontal_chest", "lateral_chest", "other_radiograph", "no_radiograph")
FLAGS = ("inverted", "mirrored", "child")


def chest_gate(
    *,
    rows: int | None = 144,
    columns: int | None = 144,
    channels: int = 1,
    classes: int = len(KINDS),
    dropout: float = 0.2,
) -> keras.Model:
    """Return the untrained network: (batch, rows, columns, channels) in [0, 1] → named logits.

    ``kind`` (batch, classes), softmax; ``turned`` (batch, 4), softmax; ``flags`` (batch, 3), one
    logistic function each.
    """
    films = keras.Input((rows, columns, channels), name="films")
    tensor = FilmStandardisation(name="standardise")(films)
    tensor = efficientnet_lite.stages(efficientnet_lite.stem(tensor), 0, 5)
    tensor = convolution(tensor, 192, name="last")
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = keras.layers.Dropout(dropout, seed=20, name="dropout")(tensor)
    outputs: dict[str, Any] = {
        name: keras.layers.Dense(count, dtype="float32", name=name)(tensor)
        for name, count in (("kind", classes), ("turned", len(TURNS)), ("flags", len(FLAGS)))
    }
    return keras.Model(films, outputs, name="chest_gate")
