"""Copies of one film, found by a perceptual hash and confirmed by correlation.

The hash is the sign of the 8 × 8 lowest frequencies of a small picture: a copy that was scaled or
compressed again keeps nearly all of them. Chests resemble each other, so what the hash proposes is
confirmed on the fine structure: both pictures less their blurred selves must correlate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

Picture = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

SIDE = 64
"""Films are compared on so many rows and columns, whatever their aspect ratio."""
NEAR = 12
"""Hashes of copies differ in at most so many of their 63 bits."""
ALIKE = 0.82
"""The fine structure of copies correlates by at least this.

Of 1,597 films without copies, no two of different patients reached 0.74; copies at a third of the
size and JPEG quality 40, or with another gamma, stayed above 0.91.
"""

_LOW = 8
_BLUR = 3.0
_BLOCK, _AT_ONCE = 2048, 4096


@dataclass(frozen=True, slots=True)
class Print:
    """A film's finger-print: ``bits`` ±1, shape (63,); ``small`` uint8, (SIDE, SIDE)."""

    bits: npt.NDArray[np.int8]
    small: Picture


def print_of(picture: Picture) -> Print:
    """Return the finger-print of a film, 8-bit grey, (rows, columns)."""
    small = np.asarray(
        Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8
    )
    low = dctn(small.astype(np.float32), norm="ortho")[:_LOW, :_LOW].ravel()[1:]
    return Print(np.where(low > np.median(low), 1, -1).astype(np.int8), small)


def copies(prints: Sequence[Print]) -> list[tuple[int, int]]:
    """Return the pairs of films that are copies, each (lower index, higher index), ascending.

    Time grows with the square of the number of films; memory hardly beyond the prints themselves.
    """
    found: list[tuple[int, int]] = []
    for start in range(0, len(prints), _BLOCK):
        rows = prints[start : start + _BLOCK]
        fine = _fine(rows)
        for other in range(start, len(prints), _BLOCK):
            columns = prints[other : other + _BLOCK]
            near = _near(rows, columns)
            near = near[near[:, 0] + start < near[:, 1] + other]
            if near.size:
                theirs = fine if other == start else _fine(columns)
                found += [(int(i) + start, int(j) + other) for i, j in _alike(near, fine, theirs)]
    return sorted(found)


def _near(rows: Sequence[Print], columns: Sequence[Print]) -> npt.NDArray[np.intp]:
    """Return the pairs whose hashes differ by `NEAR` bits at most, shape (pairs, 2)."""
    one, other = (np.stack([each.bits for each in films]) for films in (rows, columns))
    agreement = one.astype(np.float32) @ other.astype(np.float32).T
    return np.argwhere(agreement >= one.shape[1] - 2 * NEAR)


def _fine(films: Sequence[Print]) -> Values:
    """Return small pictures less their blurred selves, (films, SIDE²), mean 0 and length 1."""
    small = np.stack([film.small for film in films]).astype(np.float32)
    fine = (small - gaussian_filter(small, (0, _BLUR, _BLUR), mode="nearest")).reshape(
        len(films), -1
    )
    fine -= fine.mean(axis=1, keepdims=True)
    length = np.linalg.norm(fine, axis=1, keepdims=True)
    return np.asarray(fine / np.maximum(length, 1e-6), dtype=np.float32)


def _alike(
    pairs: npt.NDArray[np.intp], rows: Values, columns: Values
) -> list[npt.NDArray[np.intp]]:
    """Return those of the pairs whose fine structure correlates by `ALIKE` or more."""
    kept: list[npt.NDArray[np.intp]] = []
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        how = np.einsum("ij,ij->i", rows[some[:, 0]], columns[some[:, 1]])
        kept += list(some[how >= ALIKE])
    return kept
