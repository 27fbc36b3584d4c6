"""COVID-Net: a chest radiograph to three classes, from PEPE blocks with long-range connections.

Wang, Lin, Wong: "COVID-Net: a tailored deep convolutional neural network design for detection of
COVID-19 cases from chest X-ray images", Scientific Reports 10:19549 (2020).

The shape, for a film of 480 × 480 (876,243 parameters, 0.27 GMAC)::

    films      480×480×3    halved by 2×2 means, then standardised film by film
    stem        60×60×16    7×7 convolution, stride 2; 3×3 maximum, stride 2
    stage 1     60×60×32    1 PEPE block,  16 channels inside
    stage 2     30×30×96    2 PEPE blocks, 32
    stage 3     15×15×192   4 PEPE blocks, 64
    stage 4     15×15×384   2 PEPE blocks, 128
    last        15×15×384   1×1 convolution: the "last convolution" that Grad-CAM explains
    logits      classes     mean over places, dense

Where it differs from the paper's. It is a tenth of that network (about 9 M parameters, 5.5 GMAC):
1,053 films for training, from six sources, do not carry 9 M weights learned from nothing (already
this size learned them by heart within 50 epochs without mixup); the paper had about 14,000 films
and began with weights from ImageNet. The film is halved first: an epoch costs a quarter, and what
such a network knows of these films is coarse. The last stage keeps its resolution, for heat on a
grid of 15×15. Long-range connections reach all blocks of a stage by one shared 1×1 convolution
instead of chosen pairs across stages. Standardising the film inside the graph hides brightness
and contrast, which tell its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from dicom_node.networks.blocks import FilmStandardisation, convolution, pepe


@dataclass(frozen=True, slots=True)
class Stage:
    """``blocks`` PEPE blocks of ``filters`` channels, ``squeeze`` inside, ``strides`` once."""

    filters: int
    squeeze: int
    blocks: int
    strides: int


STAGES = (
    Stage(32, 16, blocks=1, strides=1),
    Stage(96, 32, blocks=2, strides=2),
    Stage(192, 64, blocks=4, strides=2),
    Stage(384, 128, blocks=2, strides=1),
)
STEM_FILTERS = 16


def _stage(tensor: Any, stage: Stage, *, name: str, strides: int) -> Any:
    """Return the stage's output, (batch, rows/strides, columns/strides, filters).

    The long-range connection ``s = W x`` (1×1, strided) reaches *every* block of the stage, not
    only the first: block k gives ``relu(y_k + s + x_k)``, so the gradient has one step from the
    stage's end to its beginning.
    """
    pooled = tensor if strides == 1 else keras.layers.AveragePooling2D(
        strides, padding="same", name=f"{name}_pool"
    )(tensor)  # fmt: skip
    shared = convolution(pooled, stage.filters, name=f"{name}_long", active=False)
    for index in range(stage.blocks):
        label = f"{name}_pepe{index + 1}"
        found = pepe(
            tensor, filters=stage.filters, squeeze=stage.squeeze, name=label,
            strides=strides if index == 0 else 1,
        )  # fmt: skip
        parts = [found, shared] if index == 0 else [found, shared, tensor]
        tensor = keras.layers.Add(name=f"{label}_add")(parts)
        tensor = keras.layers.ReLU(name=f"{label}_relu")(tensor)
    return tensor


def covidnet(
    *,
    rows: int | None = 480,
    columns: int | None = 480,
    channels: int = 3,
    classes: int = 3,
    dropout: float = 0.3,
) -> keras.Model:
    """Return the untrained network: (batch, rows, columns, channels) in [0, 1] → class logits."""
    films = keras.Input((rows, columns, channels), name="films")
    tensor = keras.layers.AveragePooling2D(2, name="halve")(films)
    tensor = FilmStandardisation(name="standardise")(tensor)
    tensor = convolution(tensor, STEM_FILTERS, size=7, strides=2, name="stem")
    tensor = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(tensor)
    for number, stage in enumerate(STAGES, start=1):
        tensor = _stage(tensor, stage, name=f"stage{number}", strides=stage.strides)
    tensor = convolution(tensor, STAGES[-1].filters, name="last")
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = keras.layers.Dropout(dropout, seed=20, name="dropout")(tensor)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(tensor)
    return keras.Model(films, logits, name="covidnet")
