"""What a report says about a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A network as results name it; ``weights`` is the digest of its weights (``sha256:…``)."""

    id: str
    title: str
    version: str
    weights: str
    intended_use: str
