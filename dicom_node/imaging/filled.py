"""Zeros where coded data should be: what a broken disk or line gives for the rest of a stream.

A decoder takes them for codes and makes a picture of them. Codes that are all zeros are true where
they say "no change": then the picture is flat there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_ZEROS = 32
"""So many bytes of zeros are longer than any code of one place of an image."""

_BLOCK, _LOOKED_AT = 8, 8
_PIXELS_PASSED, _PIXELS_LOOKED_AT = 16, 64


def zeros_begin(body: bytes, start: int = 0) -> int:
    """Return where the first long run of zeros in ``body`` begins, -1 where there is none."""
    return body.find(bytes(LEAST_ZEROS), start)


def makes_up(
    decoded: npt.NDArray[np.integer], followed: npt.NDArray[np.integer], *, by_blocks: bool
) -> bool:
    """Whether zeros were decoded to something else than a flat part of a picture.

    ``followed``: the same stream (rows, columns) with other bits from the zeros on; ``by_blocks``:
    whether it is coded in blocks of 8 x 8, else in rows.
    """
    changed = decoded != followed
    if not changed.any():
        return False
    if not by_blocks:
        first = int(np.argmax(changed.ravel())) + _PIXELS_PASSED
        part = decoded.ravel()[first : first + _PIXELS_LOOKED_AT]
        return part.size > 0 and bool(np.ptp(part) > 0)
    first = int(np.argmax(_blocks(changed).any(axis=1))) + 1
    part = _blocks(decoded)[first : first + _LOOKED_AT]
    return bool((np.ptp(part, axis=1) > 0).any()) if part.size else False


def _blocks(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the whole blocks in the order in which they are coded, one a row."""
    down, across = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
    whole = plane[: down * _BLOCK, : across * _BLOCK]
    parts = whole.reshape(down, _BLOCK, across, _BLOCK).swapaxes(1, 2)
    return parts.reshape(down * across, _BLOCK * _BLOCK)
