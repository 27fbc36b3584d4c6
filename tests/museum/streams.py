"""Compressed pixels that are whole but not quite as the standard has them, and some that are not.

Every stream is made in this process by codecs that the node's decoder does not use, or from the
bytes of one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
from openjpeg.utils import encode_array
from PIL import Image

from dicom_node.imaging import transfer_syntaxes as syntaxes
from dicom_node.imaging.decode import Pixels
from tests.museum.exhibit import Exhibit
from tests.museum.film import Film

Stream = Callable[[Pixels], bytes]


def baseline(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98)
    return buffer.getvalue()


def lossless(pixels: Pixels) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=12))


def jpeg_ls(pixels: Pixels) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))


def j2k(pixels: Pixels) -> bytes:
    return bytes(encode_array(pixels, bits_stored=12, photometric_interpretation=2))


CODECS: dict[str, tuple[str, Stream, int]] = {
    "JPEG baseline": (syntaxes.JPEG_BASELINE, baseline, 8),
    "JPEG lossless": (syntaxes.JPEG_LOSSLESS_SV1, lossless, 12),
    "JPEG-LS": (syntaxes.JPEG_LS_LOSSLESS, jpeg_ls, 12),
    "JPEG 2000": (syntaxes.JPEG_2000_LOSSLESS, j2k, 12),
}


def _exhibit(
    name: str, source: str, codec: str, change: Callable[[bytes], tuple[bytes, ...]],
    *ends: str, table: tuple[int, ...] | None = None,
) -> Exhibit:  # fmt: skip
    syntax, encode, bits = CODECS[codec]

    def recipe(film: Film) -> Film:
        parts = change(encode(film.pixels))
        at, offsets = 0, []
        for part in parts:
            offsets.append(at)
            at += 8 + len(part) + len(part) % 2
        return film.stream(syntax, *parts, table=offsets if table == (-1,) else table)

    return Exhibit(
        f"{codec} {name}", source, recipe, ends or ("analysed",), encoding={"bits": bits}
    )


def _halves(stream: bytes) -> tuple[bytes, ...]:
    cut = len(stream) // 4 * 2
    return stream[:cut], stream[cut:]


def streams() -> list[Exhibit]:
    fragments = "dcm4che/dcm4chee-arc-light#752, fo-dicom/fo-dicom#992"
    end = "Efferent-Health/fo-dicom.Codecs#37, uclouvain/openjpeg#789"
    short = (
        "End of Image",
        "truncated",
        "incomplete",
        "ends before",
        "decoded",
        "End of Code",
        "refuses",
    )
    made = []
    for codec in CODECS:
        made += [
            _exhibit("whole", fragments, codec, lambda one: (one,)),
            _exhibit("in two fragments, no table", fragments, codec, _halves),
            _exhibit("in two fragments, each in the table", fragments, codec, _halves, table=(-1,)),
            _exhibit("in two fragments, a table of one", fragments, codec, _halves, table=(0,)),
            _exhibit("whole, a table of nonsense", fragments, codec, lambda one: (one,),
                     table=(7, 4711, 99)),
            _exhibit("in two fragments, a table of nonsense", fragments, codec, _halves,
                     table=(0, 4711)),
            _exhibit("behind an empty fragment", fragments, codec, lambda one: (b"", one)),
            _exhibit("before an empty fragment", fragments, codec, lambda one: (one, b"")),
            _exhibit("in a fragment each of 1000 bytes", fragments, codec, lambda one: tuple(
                one[at : at + 1000] for at in range(0, len(one), 1000)), table=(-1,)),
            _exhibit("without its last two bytes", end, codec,
                     lambda one: (one.rstrip(b"\0")[:-2],)),
            _exhibit("with zeros behind it", end, codec, lambda one: (one + bytes(64),)),
            _exhibit("with 0xFF behind it", end, codec, lambda one: (one + b"\xff" * 8,)),
            _exhibit("with its end marker twice", end, codec,
                     lambda one: (one + (one[-2:] if len(one) % 2 == 0 else one[-3:-1]),)),
            _exhibit("behind two zero bytes", end, codec, lambda one: (bytes(2) + one,),
                     "analysed", "begin", "marker", "signature", "stream"),
            _exhibit("behind a line end", end, codec, lambda one: (b"\r\n" + one,),
                     "analysed", "begin", "marker", "signature", "stream"),
            _exhibit("cut in the middle", end, codec, lambda one: _halves(one)[:1], *short),
            _exhibit("of nought bytes", end, codec, lambda one: (bytes(len(one)),), "failed"),
        ]  # fmt: skip
    return made + _rle()


def _rle_bytes(pixels: Pixels, change: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return one frame of RLE (PS3.5 annex G); ``change`` is done to each segment's bytes."""
    planes = pixels.astype(">u2").view("u1").reshape(*pixels.shape, 2)
    segments = []
    for plane in range(2):
        content = change(_packed(np.ascontiguousarray(planes[..., plane])))
        segments.append(content + b"\0" * (len(content) % 2))
    offsets = [64]
    for segment in segments:
        offsets.append(offsets[-1] + len(segment))
    head = struct.pack("<16I", 2, *offsets[:2], *[0] * 13)
    return head + b"".join(segments)


def _packed(plane: Pixels) -> bytes:
    """Return a plane as literal runs alone, 128 bytes each: PackBits without any cleverness."""
    flat = plane.tobytes()
    chunks = [flat[at : at + 128] for at in range(0, len(flat), 128)]
    return b"".join(bytes([len(chunk) - 1]) + chunk for chunk in chunks)


def _rle() -> list[Exhibit]:
    source = "pydicom/pydicom#1438: the scanner pads a segment"

    def made(name: str, change: Callable[[bytes], bytes], *ends: str) -> Exhibit:
        return Exhibit(
            f"RLE {name}", source,
            lambda film: film.stream(syntaxes.RLE_LOSSLESS, _rle_bytes(film.pixels, change)),
            ends or ("analysed",),
        )  # fmt: skip

    return [
        made("whole", bytes),
        made("with a byte too many a segment", lambda one: one + b"\x00\x55"),
        made("with three bytes too many a segment", lambda one: one + b"\x02\1\2\3"),
        made("with a run too many", lambda one: one + b"\xf0\x55"),
        made("with no-operations behind it", lambda one: one + b"\x80\x80"),
        made("with zeros behind it", lambda one: one + b"\0\0"),
        made("with a literal that is cut behind it", lambda one: one + b"\x7f"),
        made(
            "a byte short", lambda one: one[:-129] + bytes([126]) + one[-128:-1], "RLE", "decoded"
        ),
        made("cut in the middle", lambda one: one[: len(one) // 2], "RLE", "decoded"),
    ]
