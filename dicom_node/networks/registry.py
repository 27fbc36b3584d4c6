"""From the key in a manifest to the function that builds its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dicom_node.errors import BundleContractBroken
from dicom_node.networks.keys import KEYS


def _builders() -> dict[str, Callable[..., Any]]:
    """Import Keras only when a network is wanted."""
    from dicom_node.networks.baselines import chexnet, resnet50
    from dicom_node.networks.chest_gate import chest_gate
    from dicom_node.networks.covidnet import covidnet
    from dicom_node.networks.covidnet_lite import covidnet_lite
    from dicom_node.networks.covidnet_pyramid import covidnet_pyramid
    from dicom_node.networks.covidnet_s import covidnet_cxr_s, covidnet_s
    from dicom_node.networks.covidnet_vlad import covidnet_vlad
    from dicom_node.networks.lung_unet import lung_unet
    from dicom_node.networks.opacity import opacity_extent, opacity_map, opacity_zones

    return {
        "chest-gate": chest_gate,
        "covidnet-pyramid": covidnet_pyramid,
        "opacity-map": opacity_map,
        "opacity-zones": opacity_zones,
        "opacity-extent": opacity_extent,
        "covidnet": covidnet,
        "covidnet-lite": covidnet_lite,
        "covidnet-cxr-s": covidnet_cxr_s,
        "covidnet-s": covidnet_s,
        "covidnet-vlad": covidnet_vlad,
        "lung-unet": lung_unet,
        "resnet50": resnet50,
        "chexnet": chexnet,
    }


def build(key: str, **shape: Any) -> Any:
    """Return the untrained Keras model of that key; ``shape`` goes to its builder.

    Raises `BundleContractBroken` for a key that is not in `KEYS`.
    """
    if key not in KEYS:
        raise BundleContractBroken(
            f"There is no network {key!r}; known: {', '.join(KEYS)}.",
            remedy="Correct `network` in model.toml or recipe.toml.",
        )
    return _builders()[key](**shape)
