"""What is asked about one film, beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """Which networks are to answer, and what a measurement needs of the header.

    ``networks``: ids of bundles of the suite; None: all of them. ``spacing``: mm between rows and
    between columns of the film that the engine is given; None: unknown.
    """

    networks: frozenset[str] | None = None
    spacing: tuple[float, float] | None = None


EVERYTHING = Asked()
