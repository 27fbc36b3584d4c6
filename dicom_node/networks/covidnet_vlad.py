"""COVIDNet-VLAD: COVID-19 against the rest, by descriptors pooled to learned clusters.

"COVIDNet: an automatic architecture for COVID-19 detection with deep learning from chest X-ray
images" (ROC 0.977-0.999, sensitivity 90-99 %, specificity 86-99.4 % there), and its ablation::

    A   ResNet → mean over places → 2 dense layers
    B   ResNet → spatial pyramid, its 21 means in a row → 2 dense layers
    C   ResNet → 1×1 to 128 → spatial pyramid → NetVLAD → 2 dense layers
    D   as C, then context gating before the dense layers
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks.blocks import FilmStandardisation, convolution
from dicom_node.networks.pooling import ContextGating, NetVLAD, SpatialPyramidPooling
from dicom_node.networks.resnet import resnet_trunk

VARIANTS = ("A", "B", "C", "D")
DESCRIPTOR_CHANNELS, CLUSTERS, DENSE = 128, 16, 256


def covidnet_vlad(
    *,
    rows: int | None = 224,
    columns: int | None = 224,
    channels: int = 3,
    classes: int = 2,
    dropout: float = 0.3,
    depth: int = 18,
    variant: str = "D",
) -> keras.Model:
    """Return the untrained network: (batch, rows, columns, channels) in [0, 1] → class logits.

    ``depth``: of the ResNet, 18 or 50; ``variant``: A-D. Raises ValueError for others.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is one of {', '.join(VARIANTS)}. Received: {variant!r}")
    films = keras.Input((rows, columns, channels), name="films")
    tensor = resnet_trunk(FilmStandardisation(name="standardise")(films), depth)
    tensor = keras.layers.Activation("linear", name="last_relu")(tensor)
    tensor = _pooled(tensor, variant)
    tensor = keras.layers.Dropout(dropout, seed=20, name="dropout")(tensor)
    tensor = keras.layers.Dense(DENSE, activation="relu", name="dense")(tensor)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(tensor)
    return keras.Model(films, logits, name="covidnet_vlad")


def _pooled(tensor: Any, variant: str) -> Any:
    """Return one vector a film."""
    if variant == "A":
        return keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    if variant == "B":
        cells = SpatialPyramidPooling(name="pyramid")(tensor)
        return keras.layers.Reshape((21 * tensor.shape[-1],), name="pyramid_row")(cells)
    tensor = convolution(tensor, DESCRIPTOR_CHANNELS, name="descriptors", active=False)
    tensor = SpatialPyramidPooling(name="pyramid")(tensor)
    tensor = NetVLAD(CLUSTERS, name="vlad")(tensor)
    return ContextGating(name="gating")(tensor) if variant == "D" else tensor
