"""ResNet-18 and ResNet-50 without their heads.

He et al., "Deep residual learning for image recognition", CVPR 2016, tables 1: 11.18 M and 23.5 M
parameters. The stride of a bottleneck is in its 3×3 convolution.
"""

from __future__ import annotations

from typing import Any

import keras

from dicom_node.networks.blocks import convolution

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
FILTERS = (64, 128, 256, 512)


def resnet_trunk(tensor: Any, depth: int) -> Any:
    """Return the last features, a 32nd of the input's rows and columns, 512 or 2048 channels.

    ``depth``: 18 (basic blocks) or 50 (bottlenecks). Raises ValueError for another one.
    """
    if depth not in BLOCKS:
        raise ValueError(f"depth is one of {sorted(BLOCKS)}. Received: {depth}")
    tensor = convolution(tensor, 64, size=7, strides=2, name="stem")
    tensor = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(tensor)
    for stage, (blocks, filters) in enumerate(zip(BLOCKS[depth], FILTERS, strict=True)):
        for index in range(blocks):
            strides = 2 if stage and index == 0 else 1
            name = f"stage{stage + 1}_block{index + 1}"
            block = _basic if depth == 18 else _bottleneck
            tensor = block(tensor, filters, strides, name)
    return tensor


def _basic(tensor: Any, filters: int, strides: int, name: str) -> Any:
    found = convolution(tensor, filters, size=3, strides=strides, name=f"{name}_1")
    found = convolution(found, filters, size=3, name=f"{name}_2", active=False)
    return _joined(tensor, found, filters, strides, name)


def _bottleneck(tensor: Any, filters: int, strides: int, name: str) -> Any:
    found = convolution(tensor, filters, name=f"{name}_1")
    found = convolution(found, filters, size=3, strides=strides, name=f"{name}_2")
    found = convolution(found, 4 * filters, name=f"{name}_3", active=False)
    return _joined(tensor, found, 4 * filters, strides, name)


def _joined(tensor: Any, found: Any, filters: int, strides: int, name: str) -> Any:
    """Return relu(found + tensor); a 1×1 convolution brings the tensor to shape where it must."""
    if strides > 1 or tensor.shape[-1] != filters:
        tensor = convolution(tensor, filters, strides=strides, name=f"{name}_0", active=False)
    total = keras.layers.Add(name=f"{name}_add")([found, tensor])
    return keras.layers.ReLU(name=f"{name}_relu")(total)
