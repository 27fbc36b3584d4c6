"""The building blocks of the COVID-Net family: the PEPE block, with its normalised convolution.

PEPE = projection, expansion, projection, extension (Wang, Lin, Wong: "COVID-Net", Scientific
Reports 10, 2020, figure 3). Only Keras layers and ``keras.ops``, so that a network built of them
runs on the TensorFlow, JAX and PyTorch backends.
"""

from __future__ import annotations

from typing import Any

import keras


class FilmStandardisation(keras.layers.Layer):  # type: ignore[misc]
    """Bring every film to mean 0 and standard deviation 1 over its own pixels.

    ``y = (x − mean(x)) / (std(x) + 0.02)``, shape kept, float32. It makes the network blind to
    overall brightness and contrast, which tell the source of a film and not its disease. The 0.02
    keeps an almost uniform film from becoming pure noise.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: Any) -> Any:
        """Return the standardised films, (batch, rows, columns, channels)."""
        mean, variance = keras.ops.moments(inputs, axes=[1, 2, 3], keepdims=True)
        return (inputs - mean) / (keras.ops.sqrt(variance) + 0.02)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape: nothing but values changes."""
        return input_shape


def convolution(
    tensor: Any, filters: int, *, name: str, size: int = 1, strides: int = 1, active: bool = True
) -> Any:
    """Return ReLU(BN(conv(tensor))), (batch, rows/strides, columns/strides, filters).

    ``active=False`` leaves the ReLU out: the form for what is added to something else.
    """
    tensor = keras.layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False,
        kernel_initializer="he_normal", name=f"{name}_conv",
    )(tensor)  # fmt: skip
    tensor = keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_norm")(
        tensor
    )
    return keras.layers.ReLU(name=f"{name}_relu")(tensor) if active else tensor


def depthwise(tensor: Any, *, name: str, size: int = 3, strides: int = 1) -> Any:
    """Return ReLU(BN(depthwise conv)): one spatial filter a channel, channels kept."""
    tensor = keras.layers.DepthwiseConv2D(
        size, strides=strides, padding="same", use_bias=False,
        depthwise_initializer="he_normal", name=f"{name}_conv",
    )(tensor)  # fmt: skip
    tensor = keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_norm")(
        tensor
    )
    return keras.layers.ReLU(name=f"{name}_relu")(tensor)


def pepe(tensor: Any, *, filters: int, squeeze: int, name: str, strides: int = 1) -> Any:
    """Return the PEPE block's output before its last ReLU, (batch, rows/s, columns/s, filters).

    ::

        p = relu(W1 x)          1×1, squeeze channels           first projection
        e = relu(W2 p)          1×1, filters channels           expansion
        d = relu(D e)           3×3 depthwise, stride s         spatial filter
        q = relu(W3 d)          1×1, squeeze channels           second projection
        y = W4 q                1×1, filters channels           extension

    Weights without biases and norms: ``squeeze (channels + 3 filters) + 9 filters``.
    """
    tensor = convolution(tensor, squeeze, name=f"{name}_project")
    tensor = convolution(tensor, filters, name=f"{name}_expand")
    tensor = depthwise(tensor, name=f"{name}_depthwise", strides=strides)
    tensor = convolution(tensor, squeeze, name=f"{name}_reproject")
    return convolution(tensor, filters, name=f"{name}_extend", active=False)


def separable(tensor: Any, filters: int, *, name: str, size: int = 3) -> Any:
    """Return a depthwise and a 1×1 convolution, each with norm and ReLU, (…, filters)."""
    tensor = depthwise(tensor, name=f"{name}_depthwise", size=size)
    return convolution(tensor, filters, name=f"{name}_point")
