"""What follows of every pixel from its stored value alone: how often it is there, how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_AT_ONCE = 1 << 17
"""So many pixels at once: as indices, eight bytes each, they stay in the processor's cache."""


def counted(pixels: npt.NDArray[np.integer], lowest: int, size: int) -> npt.NDArray[np.int64]:
    """Return how often each of the ``size`` values from ``lowest`` on is among stored pixels."""
    found = np.zeros(size, np.int64)
    for part in _parts(pixels):
        counts = np.bincount(_places(part, lowest))
        found[: counts.size] += counts
    return found


def looked_up(
    table: npt.NDArray[np.float32], pixels: npt.NDArray[np.integer], lowest: int
) -> npt.NDArray[np.float32]:
    """Return what ``table``, which begins with the value ``lowest``, says of each stored pixel."""
    found = np.empty(pixels.shape, np.float32)
    for part, into in zip(_parts(pixels), _parts(found), strict=True):
        # Every value that a pixel can have is in the table: nothing is wrapped.
        np.take(table, _places(part, lowest), out=into, mode="wrap")
    return found


def _parts(plane: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Return the pixels, row by row, in parts."""
    flat = plane.reshape(-1)
    return (flat[begin : begin + _AT_ONCE] for begin in range(0, flat.size, _AT_ONCE))


def _places(part: npt.NDArray[np.integer], lowest: int) -> npt.NDArray[np.integer]:
    return part if lowest == 0 else part.astype(np.int32) - lowest
