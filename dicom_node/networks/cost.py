"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from typing import Any


def parameters(network: Any) -> int:
    """Return the number of all stored values, trained or not (Keras' own count)."""
    return int(network.count_params())


def macs(network: Any) -> int:
    """Return the multiply-accumulates of one film in convolutions and dense layers.

    Counted at the network's own input size: output places × kernel values per place. Norms,
    activations, sums and pools are left out, as in the papers' tables.
    """
    import keras

    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D):
            places = math.prod(layer.output.shape[1:3])
            total += places * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return int(total)
