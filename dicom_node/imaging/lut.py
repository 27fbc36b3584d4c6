"""Look-up tables of a data set as functions of one value: PS3.3 C.11.1.1 and C.11.2.1.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_node.imaging.values import value

Values = npt.NDArray[np.float64]
Step = Callable[[Values], Values]

_MOST_TO_AND_FRO = 8
"""A table that goes to and fro by more than this many times its range is read in a wrong form."""


def lookup(item: Dataset, *, signed: bool) -> tuple[Step, float] | None:
    """Return an item's LUT as a function, and the highest value it can give; None if unreadable.

    Input below the first mapped value gives the first entry, above the last the last. ``signed``:
    whether the first mapped value is.
    """
    descriptor = _words(item, value(item, "LUTDescriptor"))
    if descriptor is None or descriptor.size != 3:
        return None
    entries, first, bits = int(descriptor[0]) or 65536, int(descriptor[1]), int(descriptor[2])
    if signed and first >= 32768:
        first -= 65536
    table = _entries(item, entries)
    if table is None:
        return None

    def step(values: Values) -> Values:
        index = np.clip(np.rint(values) - first, 0, entries - 1)
        mapped: Values = table[index.astype(np.intp)]
        return mapped

    return step, _highest(int(table.max()), bits)


def _words(item: Dataset, content: Any) -> npt.NDArray[np.int64] | None:
    """Return a value as 16-bit words, whatever VR it has; None where it is none of them."""
    if isinstance(content, bytes):
        order = ">" if item.original_encoding[1] is False else "<"
        even = len(content) - len(content) % 2
        return np.frombuffer(content[:even], f"{order}u2").astype(np.int64)
    if content is None:
        return None
    try:
        return np.atleast_1d(np.asarray(content, np.float64)).astype(np.int64) & 0xFFFF
    except (TypeError, ValueError):
        return None


def _entries(item: Dataset, entries: int) -> Values | None:
    """Return LUT Data, from words or from bytes: whichever form has that many entries exactly.

    The size decides, not the descriptor's bits: 8-bit tables come in both forms (C.11.1.1.1). A
    table of neither size is not guessed at: read in the wrong form it turns a film into noise.
    """
    content = value(item, "LUTData")
    words = _words(item, content)
    if words is None:
        return None
    size = len(content) if isinstance(content, bytes) else 2 * words.size
    if size == 2 * entries:
        table = words
    elif entries <= size <= entries + entries % 2:
        odd = content[-1:] if isinstance(content, bytes) and size % 2 else b""
        packed = words.astype("<u2").tobytes() + odd
        table = np.frombuffer(packed, np.uint8, count=entries).astype(np.int64)
    else:
        return None
    to_and_fro = np.abs(np.diff(table)).sum()
    return None if to_and_fro > _MOST_TO_AND_FRO * np.ptp(table) else table.astype(np.float64)


def _highest(largest: int, bits: int) -> float:
    """Return the white of a LUT: by its descriptor, unless its entries use another range by far."""
    described = (1 << min(max(bits, 1), 16)) - 1
    if described >= largest > described // 4:
        return float(described)
    return float(max((1 << largest.bit_length()) - 1, 1))
