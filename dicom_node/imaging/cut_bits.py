"""Whether Bits Stored and High Bit cut an image off, told from its pixels.

PS3.5 section 8.1.1 has bits above High Bit ignored: they may hold overlays, or nothing. Where they
hold the rest of the image, cutting them off wraps it: neighbours jump by the full range that lie
close together with the bits. Such a picture is a contour map, and no film.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LOOKED_AT = 1_000_000
_LEAST_PAIRS = 16
_MENDED, _STEPWISE, _LEAST_STEP = 0.5, 0.9, 0.02


def bits_used(samples: npt.NDArray[np.integer], bits_stored: int, *, signed: bool) -> int:
    """Return how many bits the image has: ``bits_stored``, unless the pixels say more.

    ``samples``: as stored, (rows, columns), the image's lowest bit in bit 0.
    """
    width = 8 * samples.dtype.itemsize
    step = max(1, samples.size // _LOOKED_AT)
    looked = samples[::step]
    if int(looked.min()) >> bits_stored == int(looked.max()) >> bits_stored:
        return bits_stored
    wide = looked.astype(np.int64)
    as_said = _read(wide, bits_stored, signed=signed)
    best, most = bits_stored, 0.0
    for bits in range(bits_stored + 1, width + 1):
        more = _read(wide, bits, signed=signed)
        share = max(_share_mended(as_said, more), _share_stepwise(more, bits_stored))
        if share > most:
            best, most = bits, share
    return best


def wraps_as_signed(samples: npt.NDArray[np.integer], bits: int) -> bool:
    """Whether ``bits`` of samples that are said to be signed are an unsigned image.

    Only where nearly all neighbours on both sides of zero lie closer without the sign.
    """
    looked = samples[:: max(1, samples.size // _LOOKED_AT)].astype(np.int64)
    as_said, other = (_read(looked, bits, signed=signed) for signed in (True, False))
    return _share_mended(as_said, other) > _STEPWISE


def _read(samples: npt.NDArray[np.int64], bits: int, *, signed: bool) -> npt.NDArray[np.int64]:
    values = samples & ((1 << bits) - 1)
    return values - ((values >> (bits - 1)) << bits) if signed else values


def _share_mended(few: npt.NDArray[np.int64], many: npt.NDArray[np.int64]) -> float:
    """Return of the neighbours that differ in the bits in question, how many lie closer with them.

    Overlays, noise and signs do not bring neighbours closer together; the rest of an image does. 0
    where that is not most of them.
    """
    changed = np.diff(many - few, axis=1) != 0
    if np.count_nonzero(changed) < _LEAST_PAIRS:
        return 0.0
    closer = np.abs(np.diff(many, axis=1)) < np.abs(np.diff(few, axis=1))
    share = float(closer[changed].mean())
    return share if share > _MENDED else 0.0


def _share_stepwise(values: npt.NDArray[np.int64], low_bits: int) -> float:
    """Return how many of the changes among the bits from ``low_bits`` on are by one step.

    Where many bits are cut off, noise hides what `_share_mended` looks for; but an image goes
    through its levels one by one, from each to the next, as planes of overlays do not. 0 where it
    does not.
    """
    best = 0.0
    for shift in range(low_bits, 16):
        levels = values >> shift
        change = np.diff(levels, axis=1)
        changes = np.count_nonzero(change)
        if np.ptp(levels) < 2 or changes < _LEAST_PAIRS:
            break
        lower = np.minimum(levels[:, 1:], levels[:, :-1])[np.abs(change) == 1] - levels.min()
        steps = np.bincount(lower) >= _LEAST_STEP * changes
        if (steps[1:] & steps[:-1]).any():
            best = max(best, lower.size / changes)
    return best if best > _STEPWISE else 0.0
