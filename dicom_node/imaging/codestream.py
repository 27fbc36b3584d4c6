"""What a compressed stream says about its own size, read before any codec sees the stream.

The header of the data set and that of the stream can disagree: a few bytes of JPEG 2000 may claim
2^32 columns. These functions parse markers only and allocate nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicom_node.imaging.filled import LEAST_ZEROS

_JPEG_START = b"\xff\xd8"
JPEG_END = J2K_END = b"\xff\xd9"
_START_OF_TILE = b"\xff\x90"
_START_OF_SCAN, _RESTART_INTERVAL, _JPEG_LS_FRAME = 0xDA, 0xDD, 0xF7
_BY_COSINES = frozenset({0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
_J2K_START = b"\xff\x4f\xff\x51"
_MAX_J2K_TILES = 16384
_CAPABILITIES, _CODING_STYLE, _OWN_PRECINCTS = 0xFF50, 0xFF52, 0x01

_STARTS = (_JPEG_START + b"\xff", _J2K_START, _JP2_SIGNATURE)
_LATEST_START = 4096


class StreamCut(Exception):
    """The stream ends before its image does."""


class Codec(StrEnum):
    """The families of compressed streams."""

    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


@dataclass(frozen=True, slots=True)
class StreamSize:
    """The size a stream claims: samples are ``precision`` bits wide, signed or not.

    ``is_lossy``: coded by cosines (JPEG only; JPEG-LS and JPEG 2000 do not say it here).
    """

    rows: int
    columns: int
    components: int
    precision: int
    codec: Codec
    signed: bool = False
    is_lossy: bool = False


def begun(data: bytes) -> bytes | None:
    """Return the stream from its first marker on: some devices write bytes before it.

    None where no stream of a known codec begins near the begin.
    """
    places = [data.find(start, 0, _LATEST_START) for start in _STARTS]
    found = [place for place in places if place >= 0]
    return data[min(found) :] if found else None


def size(stream: bytes) -> StreamSize:
    """Return what a stream that is `begun` says of itself; the codec follows from its markers.

    Of JPEG and JPEG-LS, the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2); of JPEG 2000, raw
    or inside a JP2 file, the SIZ segment (ISO/IEC 15444-1 A.5.1). Raises ValueError where there is
    none, no area, or an absurd number of tiles.
    """
    return _jpeg_size(stream) if stream.startswith(_JPEG_START) else _j2k_size(stream)


def jpeg_body(stream: bytes, claimed: StreamSize) -> tuple[bytes, bool]:
    """Return a JPEG or JPEG-LS stream up to its End of Image, and whether there is one.

    Raises StreamCut where it cannot hold every pixel: without a scan, with a progressive image
    that does not end, or with fewer restart intervals than the image has (B.2.4.4).
    """
    segments = _jpeg_segments(stream)
    marker, scan = segments[-1] if segments else (0, 0)
    if marker != _START_OF_SCAN:
        raise StreamCut("it has no scan")
    if any(marker in _PROGRESSIVE for marker, _ in segments):
        end = stream.rfind(JPEG_END, scan)
        if end < 0:
            raise StreamCut("its scans do not end")
    else:
        end = stream.find(JPEG_END, scan)
    # Without an end, zeros are padding, or what a broken disk gives for the rest.
    body = (stream.rstrip(b"\0") if end < 0 else stream[:end]).rstrip(b"\xff")
    if claimed.codec is Codec.JPEG and _restarts_missing(body, scan, segments, claimed):
        raise StreamCut("it lacks restart intervals")
    return body, end >= 0


def scan_start(stream: bytes) -> int:
    """Return where the first scan of a JPEG stream begins."""
    return _jpeg_segments(stream)[-1][1]


def j2k_body(stream: bytes) -> tuple[bytes, bool]:
    """Return a JPEG 2000 stream up to its End of Codestream, and whether there is one.

    Raises StreamCut where a tile-part that it announces does not lie in it, or tiles are missing
    (ISO/IEC 15444-1 A.4.2).
    """
    fields, start = _j2k_fields(stream)
    first, most_zeros = _j2k_main_header(stream, start)
    position, tiles = first, set()
    while stream.startswith(_START_OF_TILE, position):
        tile, length = _unpack(">HI", stream, position + 4)
        tiles.add(tile)
        if length == 0:
            end = stream.rfind(J2K_END)
            position = end if end > position else len(stream) + 1
        else:
            position += max(length, 12)
        if position > len(stream):
            raise StreamCut("a tile-part ends outside")
    if len(tiles) < _j2k_tiles(fields):
        raise StreamCut("it lacks tiles")
    body, has_end = stream[:position], stream.startswith(J2K_END, position)
    # No tile-part ends with 0xFF (B.10.1).
    if body.endswith(b"\xff") or (not has_end and body.endswith((b"\0", J2K_END))):
        raise StreamCut("its last tile-part is filled up")
    if most_zeros and bytes(most_zeros + LEAST_ZEROS) in body[first:]:
        raise StreamCut("zeros stand for a part of it")
    return body, has_end


def _jpeg_size(stream: bytes) -> StreamSize:
    for marker, start in _jpeg_segments(stream):
        if marker in _FRAME_HEADERS:
            precision, rows, columns, components = _unpack(">BHHB", stream, start + 2)
            if rows == 0 or columns == 0:
                raise ValueError("its frame header says no size")
            codec = Codec.JPEG_LS if marker == _JPEG_LS_FRAME else Codec.JPEG
            return StreamSize(
                rows, columns, components, precision, codec, is_lossy=marker in _BY_COSINES
            )
    raise ValueError("it has no frame header")


def _restarts_missing(
    body: bytes, scan: int, segments: Sequence[tuple[int, int]], claimed: StreamSize
) -> bool:
    every = [_unpack(">H", body, at + 2)[0] for kind, at in segments if kind == _RESTART_INTERVAL]
    if not any(every):
        return False
    units = claimed.rows * claimed.columns
    if claimed.is_lossy:
        units = -(-claimed.rows // 8) * -(-claimed.columns // 8)
    found = sum(body.count(bytes((0xFF, restart)), scan) for restart in range(0xD0, 0xD8))
    return found < -(-units // every[-1]) - 1


def _j2k_size(stream: bytes) -> StreamSize:
    fields, _ = _j2k_fields(stream)
    _, right, bottom, left, top = fields[:5]
    components, depth = fields[9:]
    rows, columns, tiles = bottom - top, right - left, _j2k_tiles(fields)
    if tiles > _MAX_J2K_TILES:
        raise ValueError(f"it claims {tiles} tiles")
    return StreamSize(
        rows, columns, components, (depth & 0x7F) + 1, Codec.JPEG_2000, signed=bool(depth & 0x80)
    )


def _j2k_fields(stream: bytes) -> tuple[tuple[int, ...], int]:
    """Return the fields of the SIZ segment, and where the code stream starts."""
    start = _j2k_start(stream)
    fields = _unpack(">HIIIIIIIIHB", stream, start + 6)
    _, right, bottom, left, top, tile_width, tile_height = fields[:7]
    if right <= left or bottom <= top or tile_width == 0 or tile_height == 0:
        raise ValueError("its SIZ segment describes no image")
    return fields, start


def _j2k_tiles(fields: tuple[int, ...]) -> int:
    _, right, bottom, _, _, tile_width, tile_height, tile_left, tile_top = fields[:9]
    return -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)


def _j2k_main_header(stream: bytes, start: int) -> tuple[int, int]:
    """Return where the first tile-part begins, and how many zeros may follow each other there.

    A byte a packet that is empty (B.10.3), a packet a layer and resolution (A.6.1); 0 where that
    cannot be told: with precincts, or where blocks are coded as ISO/IEC 15444-15 has it.
    """
    position, most_zeros, is_high_throughput = start + 2, 0, False
    while not stream.startswith(_START_OF_TILE, position):
        marker, length = _unpack(">HH", stream, position)
        is_high_throughput |= marker == _CAPABILITIES
        if marker == _CODING_STYLE:
            style, _, layers, _, levels = _unpack(">BBHBB", stream, position + 4)
            most_zeros = 0 if style & _OWN_PRECINCTS else layers * (levels + 1)
        position += 2 + max(length, 2)
    return position, 0 if is_high_throughput else most_zeros


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
