"""Which networks exist: the key in a manifest to the function that builds it.

A manifest names a network by key only; there are no dotted paths and no stored architectures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dicom_node.errors import BundleContractBroken

KEYS = ("covidnet",)


def _builders() -> dict[str, Callable[..., Any]]:
    """Import Keras only when a network is wanted."""
    from dicom_node.networks.covidnet import covidnet

    return {"covidnet": covidnet}


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
