"""Pooling layers of "COVIDNet: an automatic architecture": pyramid, NetVLAD, context gating.

Serialisable Keras 3 layers of ``keras.ops`` only.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

TensorShape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="dicom_node")
class SpatialPyramidPooling(keras.layers.Layer):  # type: ignore[misc]
    """Means over coarser and coarser grids, as one set of local descriptors.

    He et al., "Spatial pyramid pooling in deep convolutional networks", ECCV 2014. For each level
    n the places are cut into n × n cells as even as they can be::

        y[cell (n, i, j)] = mean of x[:, rows iR/n … (i+1)R/n, columns jC/n … (j+1)C/n]

    A cell without a place, where the grid is finer than the input, takes the place at its centre.
    Input (batch, rows, columns, channels) of any rows and columns; output (batch, Σ n²,
    channels): the number of descriptors does not depend on the film's size.
    """

    def __init__(self, levels: tuple[int, ...] = (1, 2, 4), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = tuple(levels)

    def call(self, inputs: Any) -> Any:
        """Return the descriptors, (batch, cells, channels)."""
        return ops.concatenate([_cell_means(inputs, level) for level in self.levels], axis=1)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return (batch, cells, channels)."""
        return (input_shape[0], sum(level * level for level in self.levels), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "levels": list(self.levels)}


def _cell_means(inputs: Any, level: int) -> Any:
    """Return (batch, level², channels) as two products with averaging matrices."""
    shape = ops.shape(inputs)
    down, across = (_averages(shape[axis], level) for axis in (1, 2))
    means = ops.einsum("ir,brcf->bicf", down, inputs)
    means = ops.einsum("jc,bicf->bijf", across, means)
    return ops.reshape(means, (-1, level * level, inputs.shape[-1]))


def _averages(length: Any, parts: int) -> Any:
    """Return a (parts, length) matrix whose rows are means over even parts of the length."""
    place = ops.arange(length, dtype="float32")[None, :]
    step = ops.cast(length, "float32") / parts
    begin = ops.floor(ops.arange(parts, dtype="float32")[:, None] * step + 0.5)
    end = ops.floor((ops.arange(parts, dtype="float32")[:, None] + 1.0) * step + 0.5)
    centre = ops.floor((ops.arange(parts, dtype="float32")[:, None] + 0.5) * step)
    inside = ((place >= begin) & (place < end)) | ((end <= begin) & (place == centre))
    inside = ops.cast(inside, "float32")
    return inside / ops.sum(inside, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="dicom_node")
class NetVLAD(keras.layers.Layer):  # type: ignore[misc]
    """A set of descriptors to one vector: residuals to learned clusters, softly assigned.

    Arandjelović et al., "NetVLAD: CNN architecture for weakly supervised place recognition",
    CVPR 2016::

        a_k(x_i) = softmax_k(w_k · x_i + b_k)
        V_k      = Σ_i a_k(x_i) (x_i − c_k)
        y        = L2(concat_k L2(V_k))

    Input (batch, descriptors, channels), each descriptor is brought to length 1 first; output
    (batch, clusters · channels), of length 1. Always float32: in float16 the guard against a
    length of 0 is itself 0.
    """

    def __init__(self, clusters: int = 16, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.clusters = clusters

    def build(self, input_shape: TensorShape) -> None:
        """Make assignment weights w, b and centres c."""
        channels = input_shape[-1]
        self.assignment = self.add_weight(
            shape=(channels, self.clusters), initializer="glorot_uniform", name="assignment"
        )
        self.bias = self.add_weight(shape=(self.clusters,), initializer="zeros", name="bias")
        self.centres = self.add_weight(
            shape=(self.clusters, channels),
            initializer=keras.initializers.RandomNormal(stddev=0.1, seed=11),
            name="centres",
        )

    def call(self, inputs: Any) -> Any:
        """Return the vector of residuals, (batch, clusters · channels)."""
        found = _unit(inputs)
        parts = ops.softmax(ops.matmul(found, self.assignment) + self.bias, axis=-1)
        residuals = ops.einsum("bnk,bnf->bkf", parts, found)
        residuals = residuals - ops.sum(parts, axis=1)[:, :, None] * self.centres
        flat = ops.reshape(_unit(residuals), (-1, self.clusters * inputs.shape[-1]))
        return _unit(flat)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return (batch, clusters · channels)."""
        return (input_shape[0], self.clusters * int(input_shape[-1] or 0))

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to make the layer again."""
        return {**super().get_config(), "clusters": self.clusters}


def _unit(values: Any) -> Any:
    """Return the values brought to length 1 along the last axis; zero stays zero."""
    return values * ops.rsqrt(ops.sum(values * values, axis=-1, keepdims=True) + 1e-12)


@keras.saving.register_keras_serializable(package="dicom_node")
class ContextGating(keras.layers.Layer):  # type: ignore[misc]
    """Let every feature be weighed by all others.

    Miech, Laptev, Sivic: "Learnable pooling with context gating for video classification", 2017::

        y = σ(W x + b) ⊙ x

    Input and output (batch, features).
    """

    def build(self, input_shape: TensorShape) -> None:
        """Make W and b."""
        features = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(features, features), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(features,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Return the gated features."""
        return ops.sigmoid(ops.matmul(inputs, self.kernel) + self.bias) * inputs

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return the input's shape."""
        return input_shape
