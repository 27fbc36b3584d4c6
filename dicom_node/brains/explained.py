"""Which layer of a network explains its answer: the last that still knows places."""

from __future__ import annotations

from typing import Any

EXPLAINED = "last_relu"
"""Our networks' last convolution, with its norm and activation."""


def explained_layer(network: Any) -> Any:
    """Return the layer whose output is explained: `EXPLAINED`, else the last with rows and columns.

    None if no layer has rows and columns.
    """
    spatial = [layer for layer in network.layers if len(_shape(layer)) == 4]
    named = [layer for layer in spatial if layer.name == EXPLAINED]
    if len(network.input.shape) < 4 or not spatial:
        return None
    return (named or spatial)[-1]


def _shape(layer: Any) -> tuple[Any, ...]:
    output = layer.output
    return tuple(output.shape) if hasattr(output, "shape") else ()
