"""The networks that the CXR-S paper compares with, as `keras.applications` has them.

ResNet-50 (He et al., 2016) and CheXNet, which is a DenseNet-121 (Rajpurkar et al., 2017). Both
begin with random weights here: the same data, the same recipe.
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks.blocks import FilmStandardisation


def resnet50(**shape: Any) -> keras.Model:
    """Return ResNet-50: (batch, rows, columns, channels) in [0, 1] → class logits."""
    return _classifier(keras.applications.ResNet50, "resnet50", **shape)


def chexnet(**shape: Any) -> keras.Model:
    """Return DenseNet-121: (batch, rows, columns, channels) in [0, 1] → class logits."""
    return _classifier(keras.applications.DenseNet121, "chexnet", **shape)


def _classifier(
    application: Any,
    name: str,
    *,
    rows: int | None = 224,
    columns: int | None = 224,
    channels: int = 3,
    classes: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    films = keras.Input((rows, columns, channels), name="films")
    standard = FilmStandardisation(name="standardise")(films)
    trunk = application(weights=None, include_top=False, input_tensor=standard)
    tensor = keras.layers.Activation("linear", name="last_relu")(trunk.output)
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = keras.layers.Dropout(dropout, seed=20, name="dropout")(tensor)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(tensor)
    return keras.Model(films, logits, name=name)
