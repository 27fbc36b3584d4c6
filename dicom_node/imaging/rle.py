"""RLE Lossless frames, PS3.5 annex G: one segment a byte of each sample, the high byte first."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import imagecodecs
import numpy as np
import numpy.typing as npt

from dicom_node.errors import PixelDataTruncated, PixelDataUndecodable

_HEADER = struct.Struct("<16I")
_OFFSETS = 15
"""Places for segments in a header, used or not."""


def planes(frame: bytes, number: int, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the ``number`` planes of a frame, each of ``size`` bytes.

    What follows the last byte of a plane is padding, of whatever length. Raises PixelDataTruncated
    or PixelDataUndecodable.
    """
    if len(frame) < _HEADER.size:
        raise PixelDataTruncated("The RLE frame ends within its header.")
    segments, *offsets = _HEADER.unpack_from(frame)
    bounds = [*offsets[:number], len(frame)]
    if segments == number and bounds[-2] >= len(frame):
        raise PixelDataTruncated("The RLE frame ends before its last segment begins.")
    if segments != number or bounds[0] < _HEADER.size or sorted(bounds) != bounds:
        raise PixelDataUndecodable(f"The RLE frame has {segments} segments for {number} byte(s).")
    for start, end in itertools.pairwise(bounds):
        yield _unpacked(frame[start:end], size)


def frame_of(samples: npt.NDArray[np.uint8]) -> bytes:
    """Return a frame of samples of one byte, shape (rows, columns, samples), row by row."""
    segments = [
        _even(bytes(imagecodecs.packbits_encode(np.ascontiguousarray(samples[..., each]), axis=-1)))
        for each in range(samples.shape[-1])
    ]
    offsets = [_HEADER.size, *itertools.accumulate(map(len, segments[:-1]), initial=_HEADER.size)]
    unused = [0] * (_OFFSETS - len(segments))
    return b"".join([_HEADER.pack(len(segments), *offsets[1:], *unused), *segments])


def _even(segment: bytes) -> bytes:
    return segment + b"\0" * (len(segment) % 2)


def _unpacked(segment: bytes, size: int) -> npt.NDArray[np.uint8]:
    end, held = _end(segment, size)
    if held < size:
        raise PixelDataTruncated(f"An RLE segment holds {held} of {size} bytes.")
    try:
        plane = imagecodecs.packbits_decode(segment[:end], out=held)
    except (RuntimeError, ValueError) as error:
        raise PixelDataUndecodable("An RLE segment does not hold what it should.") from error
    return np.frombuffer(plane, np.uint8, count=size)


def _end(segment: bytes, wanted: int) -> tuple[int, int]:
    """Return where a segment has ``wanted`` bytes at least, and how many (PS3.5 G.3.1)."""
    position, held, size = 0, 0, len(segment)
    while held < wanted and position < size:
        control = segment[position]
        if control < 128:
            held += min(control + 1, size - position - 1)
            position += control + 2
        elif control > 128 and position + 1 < size:
            held += 257 - control
            position += 2
        else:
            position += 1
    return min(position, size), held
