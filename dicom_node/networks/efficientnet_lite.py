"""EfficientNet-Lite 0, 1 and 2: the trunk of the networks that look at the lungs.

Tan, Le: "EfficientNet", ICML 2019; the Lite variants of the same authors have neither squeeze and
excitation nor swish. Its block (expansion 1×1, depthwise, projection 1×1, residual) is that of
COVID-Net without the second squeeze, and weights learned on ImageNet exist under Apache-2.0:
like COVID-Net in its paper, this trunk begins with them (`dicom_node.training.teaching.initial`).

Stages of Lite0, for a film of 224 × 224 (Lite1 and Lite2 have more blocks, Lite2 more filters)::

    stem        112×112×32    3×3, stride 2
    block0      112×112×16    1 block
    block1-2     56×56×24     2 blocks
    block3-4     28×28×40     2 blocks, 5×5
    block5-7     14×14×80     3 blocks                     end of the shared part
    block8-10    14×14×112    3 blocks, 5×5
    block11-14    7×7×192     4 blocks, 5×5
    block15       7×7×320     1 block
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras


@dataclass(frozen=True, slots=True)
class LiteStage:
    """``blocks`` blocks of ``filters`` channels; the first one has ``strides``."""

    filters: int
    blocks: int
    size: int
    strides: int
    expansion: int = 6


STAGES = (
    LiteStage(16, 1, 3, 1, expansion=1),
    LiteStage(24, 2, 3, 2),
    LiteStage(40, 2, 5, 2),
    LiteStage(80, 3, 3, 2),
    LiteStage(112, 3, 5, 1),
    LiteStage(192, 4, 5, 2),
    LiteStage(320, 1, 3, 1),
)
_BLOCKS = (1, 3, 3, 4, 4, 5, 1)
_WIDE = (16, 24, 48, 88, 120, 208, 352)
VARIANTS = (
    STAGES,
    tuple(replace(s, blocks=n) for s, n in zip(STAGES, _BLOCKS, strict=True)),
    tuple(replace(s, blocks=n, filters=f) for s, n, f in zip(STAGES, _BLOCKS, _WIDE, strict=True)),
)
"""Lite0, Lite1 and Lite2: depths 1.0, 1.1 and 1.2, the last 1.1 times as wide."""

SHARED_STAGES = 4
STEM_FILTERS = 32


def stem(tensor: Any) -> Any:
    """Return the first convolution's output, halved in rows and columns."""
    tensor = _convolution(tensor, STEM_FILTERS, size=3, strides=2, name="stem")
    return keras.layers.ReLU(6.0, name="stem_relu")(tensor)


def stages(tensor: Any, first: int, last: int, variant: int = 0) -> Any:
    """Return the output of stages ``first`` (from 0) up to, not including, ``last``.

    ``variant``: 0, 1 or 2, of `VARIANTS`.
    """
    plan = VARIANTS[variant]
    number = sum(stage.blocks for stage in plan[:first])
    for stage in plan[first:last]:
        for index in range(stage.blocks):
            strides = stage.strides if index == 0 else 1
            tensor = _block(tensor, stage, strides, name=f"block{number}")
            number += 1
    return tensor


def _block(tensor: Any, stage: LiteStage, strides: int, *, name: str) -> Any:
    """Return an inverted residual block's output; the sum only where shapes agree."""
    channels = tensor.shape[-1]
    found = tensor
    if stage.expansion > 1:
        found = _convolution(found, channels * stage.expansion, name=f"{name}_expand")
        found = keras.layers.ReLU(6.0, name=f"{name}_expand_relu")(found)
    found = keras.layers.DepthwiseConv2D(
        stage.size, strides=strides, padding="same", use_bias=False,
        depthwise_initializer="he_normal", name=f"{name}_depthwise_conv",
    )(found)  # fmt: skip
    found = _norm(found, f"{name}_depthwise")
    found = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(found)
    found = _convolution(found, stage.filters, name=f"{name}_project")
    if strides == 1 and channels == stage.filters:
        found = keras.layers.Add(name=f"{name}_add")([found, tensor])
    return found


def _convolution(tensor: Any, filters: int, *, name: str, size: int = 1, strides: int = 1) -> Any:
    tensor = keras.layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(tensor)  # fmt: skip
    return _norm(tensor, name)


def _norm(tensor: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_norm")(tensor)
