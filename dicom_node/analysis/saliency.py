"""Where a network looked: Grad-CAM at its last convolution.

Selvaraju et al., "Grad-CAM", ICCV 2017. TensorFlow, for its gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dicom_node.imaging.prepare import Float

Explain = Callable[[Any], tuple[Any, Any]]


def last_features(network: Any) -> Any:
    """Return the last tensor of the network that still has rows and columns.

    That is the last convolution with its norm and activation. Raises ValueError if there is none.
    """
    for layer in reversed(network.layers):
        if len(layer.output.shape) == 4:
            return layer.output
    raise ValueError(f"network {network.name!r} has no layer with rows and columns")


def explainer(network: Any) -> Explain:
    """Return a compiled function: films → (logits, heat) in one pass.

    ::

        A = features (rows', columns', channels)      y = logit of the class with the highest
        w_k = mean over places of dy/dA_k             heat = relu(Σ_k w_k A_k) / its maximum

    ``films``: float32, (films, rows, columns, channels) in [0, 1]; logits: (films, classes);
    heat: float32 in [0, 1], (films, rows', columns'), all 0 where nothing speaks for the class.
    """
    import keras
    import tensorflow as tf

    features = last_features(network)
    trunk = keras.Model(network.input, features)
    head = keras.Model(features, network.output)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def explain(films: Any) -> tuple[Any, Any]:
        found = trunk(films, training=False)
        with tf.GradientTape() as tape:
            tape.watch(found)
            logits = head(found, training=False)
            highest = tf.reduce_max(logits, axis=-1)
        weights = tf.reduce_mean(tape.gradient(highest, found), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * found, axis=-1))
        top = tf.reduce_max(heat, axis=(1, 2), keepdims=True)
        return logits, tf.math.divide_no_nan(heat, top)

    return explain  # type: ignore[no-any-return]


def explained(explain: Explain, films: Float) -> tuple[Float, Float]:
    """Return (logits, heat) of the films as float32 arrays."""
    logits, heat = explain(films)
    return np.asarray(logits, dtype=np.float32), np.asarray(heat, dtype=np.float32)
