"""What a report says about a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_node.bundles.declared import Declaration


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A network as results name it; ``weights`` is the digest of its weights (``sha256:…``).

    ``declaration``: the manifest of one that says itself what it says; None of our own networks,
    and of one that answered and is no longer installed.
    """

    id: str
    title: str
    version: str
    weights: str
    intended_use: str
    declaration: Declaration | None = field(default=None, hash=False)
