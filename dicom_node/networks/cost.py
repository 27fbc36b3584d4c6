"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_node.networks.registry import build


@dataclass(frozen=True, slots=True)
class Link:
    """A network of a chain. ``layer``: where the next one begins; empty: it is the last."""

    key: str
    options: Mapping[str, Any]
    layer: str = ""


def of_chain(links: Sequence[Link], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return parameters and MACs of networks that begin one on the other.

    Of each but the last only what leads to its ``layer`` is counted. ``shape``: of the films,
    (rows, columns, channels). Raises `BundleContractBroken` for a key that is not registered, and
    ValueError for a layer that is not there.
    """
    import keras

    stored = counted = 0
    for link in links:
        given = dict(zip(("rows", "columns", "channels"), shape, strict=False))
        network = build(link.key, **{**link.options, **given})
        if link.layer:
            network = keras.Model(network.input, network.get_layer(link.layer).output)
            shape = tuple(network.output.shape[1:])
        stored += parameters(network)
        counted += macs(network)
    return stored, counted


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
