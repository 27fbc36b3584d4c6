"""What a compressed stream says about its own size, read before any codec sees the stream.

The header of the data set and that of the stream can disagree: a few bytes of JPEG 2000 may claim
2^32 columns. These functions parse markers only and allocate nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_J2K_START = b"\xff\x4f\xff\x51"
_MAX_J2K_TILES = 16384


@dataclass(frozen=True, slots=True)
class StreamSize:
    """The size a stream claims: samples are ``precision`` bits wide, signed or not."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False


def jpeg_size(stream: bytes) -> StreamSize:
    """Return what the frame header says (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2).

    Raises ValueError where there is no JPEG stream, no frame header before the first scan, or a
    size that comes later by a DNL segment.
    """
    if not stream.startswith(_JPEG_START):
        raise ValueError("it does not start as a JPEG stream")
    for marker, start in _jpeg_segments(stream):
        if marker in _FRAME_HEADERS:
            precision, rows, columns, components = _unpack(">BHHB", stream, start + 2)
            if rows == 0 or columns == 0:
                raise ValueError("its frame header says no size")
            return StreamSize(rows, columns, components, precision)
    raise ValueError("it has no frame header")


def jpeg_is_complete(stream: bytes) -> bool:
    """Whether an End of Image marker follows the first scan. libjpeg fills up without a word."""
    for marker, start in _jpeg_segments(stream):
        if marker == _START_OF_SCAN:
            return stream.rfind(_JPEG_END, start) > start
    return False


def j2k_size(stream: bytes) -> StreamSize:
    """Return what the SIZ segment says (ISO/IEC 15444-1 A.5.1), raw or inside a JP2 file.

    Raises ValueError where there is no code stream, no area, or an absurd number of tiles.
    """
    start = _j2k_start(stream)
    fields = _unpack(">HIIIIIIIIHB", stream, start + 6)
    _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = fields[:9]
    components, depth = fields[9:]
    rows, columns = bottom - top, right - left
    if rows <= 0 or columns <= 0 or tile_width == 0 or tile_height == 0:
        raise ValueError("its SIZ segment describes no image")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > _MAX_J2K_TILES:
        raise ValueError(f"it claims {tiles} tiles")
    return StreamSize(rows, columns, components, (depth & 0x7F) + 1, bool(depth & 0x80))


def _jpeg_segments(stream: bytes) -> list[tuple[int, int]]:
    """Return (marker, offset of its length field) of each segment up to the first scan."""
    segments, position = [], 2
    while position < len(stream):
        marker, position = _next_marker(stream, position)
        if marker in _STANDALONE:
            continue
        segments.append((marker, position))
        if marker == _START_OF_SCAN:
            break
        (length,) = _unpack(">H", stream, position)
        position += max(length, 2)
    return segments


def _next_marker(stream: bytes, position: int) -> tuple[int, int]:
    if stream[position] != 0xFF:
        raise ValueError("it has no marker where one must be")
    while position < len(stream) and stream[position] == 0xFF:
        position += 1
    if position == len(stream):
        raise ValueError("it ends within a marker")
    return stream[position], position + 1


def _j2k_start(stream: bytes) -> int:
    position = 0
    if stream.startswith(_JP2_SIGNATURE):
        while stream[position + 4 : position + 8] != b"jp2c":
            (length,) = _unpack(">I", stream, position)
            if length < 8:
                raise ValueError("its JP2 boxes cannot be followed")
            position += length
        position += 8
    if not stream.startswith(_J2K_START, position):
        raise ValueError("it does not start as a JPEG 2000 code stream")
    return position


def _unpack(layout: str, stream: bytes, offset: int) -> tuple[int, ...]:
    if offset + struct.calcsize(layout) > len(stream):
        raise ValueError("it ends within its header")
    return struct.unpack_from(layout, stream, offset)
