"""Stored pixels of one film from Pixel Data, PS3.5 section 8 and annex A.

One codec a family, all under permissive licences: libjpeg-turbo (imagecodecs) for JPEG, CharLS
(pyjpegls) for JPEG-LS, OpenJPEG (pylibjpeg-openjpeg) for JPEG 2000 and HTJ2K, PackBits
(imagecodecs) for RLE. Sizes are checked before a codec runs, completeness before and after.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt
from openjpeg.utils import decode as openjpeg_decode
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments

from dicom_node.errors import (
    PhotometricInterpretationUnsupported,
    PixelDataMissing,
    PixelDataTooLarge,
    PixelDataTruncated,
    PixelDataUndecodable,
    TransferSyntaxUnsupported,
)
from dicom_node.imaging import codestream, rle
from dicom_node.imaging.codestream import Codec, StreamCut, StreamSize
from dicom_node.imaging.cut_bits import bits_used, wraps_as_signed
from dicom_node.imaging.filled import makes_up, zeros_begin
from dicom_node.imaging.header import parsing, read_dataset, transfer_syntax_of
from dicom_node.imaging.transfer_syntaxes import (
    EXPLICIT_BIG_ENDIAN,
    JPEG_2000_FAMILY,
    JPEG_FAMILY,
    JPEG_LS_FAMILY,
    LOSSY,
    NATIVE,
    RLE_LOSSLESS,
    SUPPORTED_TRANSFER_SYNTAXES,
)
from dicom_node.imaging.values import integer

DEFAULT_MAX_MEGAPIXELS = 200

Pixels = npt.NDArray[np.uint8 | np.int8 | np.uint16 | np.int16]
"""Stored values, shape (rows, columns), native byte order, as wide as Bits Allocated."""

_FAMILIES = {
    Codec.JPEG: JPEG_FAMILY,
    Codec.JPEG_LS: JPEG_LS_FAMILY,
    Codec.JPEG_2000: JPEG_2000_FAMILY,
}
_WHATEVER_FOLLOWS = b"\xee" * 4096
"""Bits that no decoder makes up for missing ones: a picture that needs none does not change."""

_MOST_RINGING, _MOST_BEYOND = 1.25, 0.01


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples lie, PS3.3 C.7.6.3; ``high_bit`` is that of the stored sample."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    @property
    def expected_bytes(self) -> int:
        return self.pixels * self.bits_allocated // 8


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The stored values of a film, and the notes on how they were read (`findings.NOTES`)."""

    pixels: Pixels
    notes: tuple[str, ...] = ()


def decode(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Pixels:
    """Return the stored values of a film, shape (rows, columns); see `read_pixels`."""
    return read_pixels(source, max_megapixels=max_megapixels).pixels


def read_pixels(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Read:
    """Return the stored values of a single-frame greyscale film, with the notes on them.

    Bits outside Bits Stored (overlays of old devices, PS3.3 C.9) are cut off unless they hold the
    rest of the image, signed values sign-extended. Raises HeaderUnreadable, PixelDataMissing,
    PixelDataTruncated, PixelDataTooLarge (before anything is decoded),
    PhotometricInterpretationUnsupported, TransferSyntaxUnsupported or PixelDataUndecodable.
    """
    dataset = source if isinstance(source, Dataset) else read_dataset(source)
    with parsing():
        if "PixelData" not in dataset:
            raise PixelDataMissing("The object holds no Pixel Data.")
        layout = _layout(dataset, max_megapixels)
        return _decode(dataset["PixelData"], layout, max_megapixels)


def little_endian(pixels: Pixels) -> bytes:
    """Return the values row by row, little endian, as native Pixel Data has them."""
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _layout(dataset: Dataset, max_megapixels: float) -> _Layout:
    transfer_syntax_uid = transfer_syntax_of(dataset)
    if transfer_syntax_uid not in SUPPORTED_TRANSFER_SYNTAXES:
        raise TransferSyntaxUnsupported(
            f"Transfer Syntax {transfer_syntax_uid or '(not stated)'} cannot be decoded."
        )
    frames = integer(dataset, "NumberOfFrames") or 1
    samples = integer(dataset, "SamplesPerPixel") or 1
    layout = _Layout(
        transfer_syntax_uid,
        rows=_required(dataset, "Rows"),
        columns=_required(dataset, "Columns"),
        bits_allocated=_required(dataset, "BitsAllocated"),
        bits_stored=_required(dataset, "BitsStored"),
        high_bit=_optional(dataset, "HighBit", _required(dataset, "BitsStored") - 1),
        signed=integer(dataset, "PixelRepresentation") == 1,
    )
    _refuse_colour(dataset, samples)
    if layout.pixels * samples * frames > max_megapixels * 1_000_000:
        raise PixelDataTooLarge(
            f"{layout.rows} × {layout.columns} pixels, {frames} frame(s), exceed "
            f"{max_megapixels:g} megapixels."
        )
    if frames != 1:
        raise PixelDataUndecodable(f"The object has {frames} frames; a film has one.")
    _refuse_odd_bits(layout)
    return layout


def _required(dataset: Dataset, keyword: str) -> int:
    value = integer(dataset, keyword)
    if not value:
        raise PixelDataMissing(f"{keyword} is missing: Pixel Data cannot be read without it.")
    return value


def _optional(dataset: Dataset, keyword: str, default: int) -> int:
    value = integer(dataset, keyword)
    return default if value is None else value


def _refuse_colour(dataset: Dataset, samples: int) -> None:
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip()
    if not photometric:
        raise PixelDataMissing("PhotometricInterpretation is missing: black may be white.")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or samples != 1:
        raise PhotometricInterpretationUnsupported(
            f"Photometric Interpretation {photometric} with {samples} sample(s) a pixel is no film."
        )


def _refuse_odd_bits(layout: _Layout) -> None:
    allocated, stored, high = layout.bits_allocated, layout.bits_stored, layout.high_bit
    if allocated not in (8, 16) or not stored - 1 <= high < allocated:
        raise PixelDataUndecodable(
            f"{stored} bits stored in {allocated}, highest bit {high}, are no film's layout."
        )


def _decode(element: DataElement, layout: _Layout, max_megapixels: float) -> Read:
    if layout.transfer_syntax_uid in NATIVE:
        return _significant(_native(element, layout), layout)
    frame = _encapsulated_frame(element)
    stream = codestream.begun(frame)
    if stream is None and layout.transfer_syntax_uid == RLE_LOSSLESS:
        return _significant(_rle(frame, layout), layout)
    if stream is None:
        raise PixelDataUndecodable("Pixel Data begins as no compressed stream that is known.")
    claimed = claimed_size(stream)
    _refuse_other_size(claimed, layout, max_megapixels)
    decoded, is_whole = _compressed(stream, claimed)
    if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.kind not in "ui":
        raise PixelDataUndecodable("The codec returned another image than the header describes.")
    is_lossy = layout.transfer_syntax_uid in LOSSY or claimed.is_lossy
    read = (_clipped if is_lossy else _significant)(decoded, layout, claimed)
    is_as_said = layout.transfer_syntax_uid in _FAMILIES[claimed.codec]
    if is_whole and is_as_said and len(stream) == len(frame):
        return read
    return replace(read, notes=("stream", *read.notes))


def _native(element: DataElement, layout: _Layout) -> npt.NDArray[np.unsignedinteger]:
    """Return the samples as stored, byte order made native, shape (rows, columns)."""
    content = element.value or b""
    if element.is_undefined_length:
        raise PixelDataUndecodable("Pixel Data of undefined length cannot be uncompressed pixels.")
    if len(content) < layout.expected_bytes:
        raise PixelDataTruncated(
            f"Pixel Data has {len(content)} bytes; {layout.rows} × {layout.columns} pixels "
            f"need {layout.expected_bytes}."
        )
    big = layout.transfer_syntax_uid == EXPLICIT_BIG_ENDIAN
    if big and layout.bits_allocated == 8 and element.VR == "OW":
        swapped = np.frombuffer(content, ">u2").astype("<u2").view(np.uint8)
        return swapped[: layout.pixels].reshape(layout.rows, layout.columns)
    stored = np.dtype(f"{'>' if big else '<'}u{layout.bits_allocated // 8}")
    samples = np.frombuffer(content, stored, count=layout.pixels)
    native = samples.astype(stored.newbyteorder("="), copy=False)
    return native.reshape(layout.rows, layout.columns)


def _encapsulated_frame(element: DataElement) -> bytes:
    if not element.value:
        raise PixelDataMissing("Pixel Data is empty.")
    if not element.is_undefined_length:
        raise PixelDataUndecodable("The Transfer Syntax says compressed, Pixel Data is not.")
    try:
        first, *rest = generate_fragments(element.value)
    except (ValueError, struct.error, EOFError) as error:
        raise PixelDataUndecodable("The fragments of Pixel Data cannot be followed.") from error
    # One frame is all fragments, whatever the offset table says of them; where that is missing,
    # the first item is the first fragment.
    frame = b"".join((first, *rest) if codestream.begun(first) else rest)
    if not frame:
        raise PixelDataMissing("Pixel Data holds no fragment.")
    return frame


def _rle(frame: bytes, layout: _Layout) -> npt.NDArray[np.unsignedinteger]:
    parts = list(rle.planes(frame, layout.bits_allocated // 8, layout.pixels))
    if len(parts) == 1:
        return parts[0].reshape(layout.rows, layout.columns)
    samples = parts[0].astype(np.uint16) << np.uint16(8) | parts[1]
    return samples.reshape(layout.rows, layout.columns)


def claimed_size(stream: bytes) -> StreamSize:
    """Return what a compressed stream says of its picture. Raises PixelDataUndecodable."""
    try:
        return codestream.size(stream)
    except ValueError as error:
        raise PixelDataUndecodable(f"The compressed stream is damaged: {error}.") from error


def _refuse_other_size(claimed: StreamSize, layout: _Layout, max_megapixels: float) -> None:
    size = f"{claimed.rows} × {claimed.columns} pixels"
    if claimed.rows * claimed.columns * claimed.components > max_megapixels * 1_000_000:
        raise PixelDataTooLarge(f"The compressed stream claims {size}; nothing was decoded.")
    if claimed.components != 1:
        raise PhotometricInterpretationUnsupported(
            f"The compressed stream has {claimed.components} components; a film has one."
        )
    if (claimed.rows, claimed.columns) != (layout.rows, layout.columns):
        raise PixelDataUndecodable(
            f"The compressed stream holds {size}, the header says {layout.rows} × {layout.columns}."
        )
    if not 2 <= claimed.precision <= layout.bits_allocated:
        raise PixelDataUndecodable(
            f"The compressed stream has {claimed.precision} bits a sample, the header allots "
            f"{layout.bits_allocated}."
        )


def _compressed(stream: bytes, claimed: StreamSize) -> tuple[npt.NDArray[np.integer], bool]:
    """Return what the stream's own codec decodes, and whether the stream has its end.

    Raises PixelDataTruncated where not every pixel is in it: libjpeg fills up without a word.
    """
    try:
        if claimed.codec is Codec.JPEG_2000:
            body, has_end = codestream.j2k_body(stream)
            return np.asarray(openjpeg_decode(body + codestream.J2K_END)), has_end
        body, has_end = codestream.jpeg_body(stream, claimed)
        if claimed.codec is Codec.JPEG_LS:
            return _jpeg_ls(body, has_end=has_end), has_end
        return _jpeg(body, claimed), has_end
    except StreamCut as error:
        raise PixelDataTruncated(
            "The compressed stream ends before its last pixel; nothing is made up for the rest."
        ) from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise PixelDataUndecodable(f"The codec refuses the Pixel Data: {error}.") from error


def _jpeg_ls(body: bytes, *, has_end: bool) -> npt.NDArray[np.integer]:
    try:
        return np.asarray(jpeg_ls.decode(np.frombuffer(body + codestream.JPEG_END, np.uint8)))
    except RuntimeError as error:
        if has_end:
            raise
        raise StreamCut("its codec misses something") from error


def _jpeg(body: bytes, claimed: StreamSize) -> npt.NDArray[np.integer]:
    """Return what a JPEG stream without its end decodes to, if that is all of its picture."""
    decoded = np.asarray(imagecodecs.jpeg8_decode(body + codestream.JPEG_END))
    if not np.array_equal(decoded, _followed(body)):
        raise StreamCut("its picture depends on what follows")
    zeros = zeros_begin(body, codestream.scan_start(body))
    if zeros >= 0 and makes_up(decoded, _followed(body[:zeros]), by_blocks=claimed.is_lossy):
        raise StreamCut("zeros stand for a part of it")
    return decoded


def _followed(body: bytes) -> npt.NDArray[np.integer]:
    stream = body + _WHATEVER_FOLLOWS + codestream.JPEG_END
    return np.asarray(imagecodecs.jpeg8_decode(stream))


def _significant(
    samples: npt.NDArray[np.integer], layout: _Layout, claimed: StreamSize | None = None
) -> Read:
    """Return bits ``high_bit - bits_stored + 1`` to ``high_bit``, sign-extended where signed.

    Bits above them are taken, too, where they hold the rest of the image.

    A compressed stream narrower than ``high_bit`` starts at bit 0, and its sign, where the codec
    has not extended it, is its own highest bit.
    """
    width, stored, low = layout.bits_allocated, layout.bits_stored, 0
    if claimed is None or claimed.precision > layout.high_bit:
        low = layout.high_bit + 1 - stored
    elif not claimed.signed:
        stored = min(stored, claimed.precision)
    unsigned: npt.NDArray[Any] = samples.astype(f"u{width // 8}", copy=False)
    lies_low = low > 0 and _lies_low(unsigned, stored, low, signed=layout.signed)
    low = 0 if lies_low else low
    unsigned, used = unsigned >> low if low else unsigned, stored
    if low + stored < width:
        used = bits_used(unsigned, stored, signed=layout.signed)
    signed = layout.signed and not wraps_as_signed(unsigned, used)
    pixels = _extended(unsigned, used) if signed else _cut(unsigned, used)
    is_as_said = (used, signed) == (stored, layout.signed) and not lies_low
    return Read(pixels, () if is_as_said else ("bits",))


def _extended(unsigned: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Return the lowest ``bits`` of unsigned values as signed ones."""
    spare = 8 * unsigned.itemsize - bits
    if not spare:
        return unsigned.view(f"i{unsigned.itemsize}")
    return (unsigned << spare).view(f"i{unsigned.itemsize}") >> spare


def _cut(unsigned: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Return the lowest ``bits`` of unsigned values; the values themselves if that is all."""
    return unsigned & ((1 << bits) - 1) if int(unsigned.max()) >> bits else unsigned


def _lies_low(unsigned: npt.NDArray[Any], stored: int, low: int, *, signed: bool) -> bool:
    """Whether an image begins at bit 0, though High Bit has it begin at bit ``low``.

    That is so where it uses the bits below and, but for its sign, none of those above its own.
    """
    above = unsigned >> stored
    if signed:
        above = unsigned.view(f"i{unsigned.itemsize}") >> (stored - 1)
        above = np.where(above == -1, 0, above)
    return not above.any() and bool((unsigned & ((1 << low) - 1)).any())


def _clipped(samples: npt.NDArray[np.integer], layout: _Layout, claimed: StreamSize) -> Read:
    """Return values clipped to Bits Stored: lossy ringing overshoots, masking would wrap it.

    More than that, it is no ringing, but an image that Bits Stored would cut off.
    """
    if layout.signed and not claimed.signed:
        return _significant(samples, layout, claimed)
    values, stored = samples.astype(np.int32, copy=False), layout.bits_stored
    notes: tuple[str, ...] = ()
    if (values > _MOST_RINGING * (1 << stored)).mean() > _MOST_BEYOND:
        stored, notes = int(values.max()).bit_length() + int(layout.signed), ("bits",)
    low = -(1 << (stored - 1)) if layout.signed else 0
    high = low + (1 << stored) - 1
    kind = "i" if layout.signed else "u"
    clipped = np.clip(values, low, high).astype(f"{kind}{layout.bits_allocated // 8}")
    return Read(clipped, notes)
