"""Stored pixels of one film from Pixel Data, PS3.5 section 8 and annex A.

One codec a family, all under permissive licences: libjpeg-turbo (imagecodecs) for JPEG, CharLS
(pyjpegls) for JPEG-LS, OpenJPEG (pylibjpeg-openjpeg) for JPEG 2000 and HTJ2K, PackBits
(imagecodecs) for RLE. Sizes are checked before a codec runs, completeness before and after.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt
from openjpeg.utils import decode as openjpeg_decode
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from dicom_node.errors import (
    PhotometricInterpretationUnsupported,
    PixelDataMissing,
    PixelDataTooLarge,
    PixelDataTruncated,
    PixelDataUndecodable,
    TransferSyntaxUnsupported,
)
from dicom_node.imaging.codestream import StreamSize, j2k_size, jpeg_is_complete, jpeg_size
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

_RLE_HEADER = struct.Struct("<16I")


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


def decode(
    source: Dataset | Path | bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Pixels:
    """Return the stored values of a single-frame greyscale film, shape (rows, columns).

    Bits outside Bits Stored (overlays of old devices, PS3.3 C.9) are cut off, signed values
    sign-extended. Raises HeaderUnreadable, PixelDataMissing, PixelDataTruncated,
    PixelDataTooLarge (before anything is decoded), PhotometricInterpretationUnsupported,
    TransferSyntaxUnsupported or PixelDataUndecodable.
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


def _decode(element: DataElement, layout: _Layout, max_megapixels: float) -> Pixels:
    if layout.transfer_syntax_uid in NATIVE:
        return _significant(_native(element, layout), layout)
    frame = _encapsulated_frame(element)
    if layout.transfer_syntax_uid == RLE_LOSSLESS:
        return _significant(_rle(frame, layout), layout)
    claimed = _claimed_size(frame, layout)
    _refuse_other_size(claimed, layout, max_megapixels)
    decoded = _compressed(frame, layout)
    if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.kind not in "ui":
        raise PixelDataUndecodable("The codec returned another image than the header describes.")
    if layout.transfer_syntax_uid in LOSSY:
        return _clipped(decoded, layout, claimed)
    return _significant(decoded, layout, claimed)


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
        frame = next(generate_frames(element.value, number_of_frames=1), b"")
    except (ValueError, struct.error, EOFError) as error:
        raise PixelDataUndecodable("The fragments of Pixel Data cannot be followed.") from error
    if not frame:
        raise PixelDataMissing("Pixel Data holds no fragment.")
    return bytes(frame)


def _rle(frame: bytes, layout: _Layout) -> npt.NDArray[np.unsignedinteger]:
    """Return the samples of one RLE frame, one segment a byte, high byte first; PS3.5 annex G."""
    planes = layout.bits_allocated // 8
    if len(frame) < _RLE_HEADER.size:
        raise PixelDataTruncated("The RLE frame ends within its header.")
    segments, *offsets = _RLE_HEADER.unpack_from(frame)
    bounds = [*offsets[:planes], len(frame)]
    if segments != planes or bounds[0] < _RLE_HEADER.size or sorted(bounds) != bounds:
        raise PixelDataUndecodable(f"The RLE frame has {segments} segments for {planes} byte(s).")
    parts = [_rle_segment(frame[start:end], layout) for start, end in itertools.pairwise(bounds)]
    if planes == 1:
        return parts[0].reshape(layout.rows, layout.columns)
    samples = parts[0].astype(np.uint16) << np.uint16(8) | parts[1]
    return samples.reshape(layout.rows, layout.columns)


def _rle_segment(segment: bytes, layout: _Layout) -> npt.NDArray[np.uint8]:
    try:
        plane = imagecodecs.packbits_decode(segment, out=layout.pixels)
    except (RuntimeError, ValueError) as error:
        raise PixelDataUndecodable("An RLE segment does not hold what it should.") from error
    if len(plane) < layout.pixels:
        raise PixelDataTruncated(f"An RLE segment holds {len(plane)} of {layout.pixels} bytes.")
    return np.frombuffer(plane, np.uint8)


def _claimed_size(frame: bytes, layout: _Layout) -> StreamSize:
    try:
        if layout.transfer_syntax_uid in JPEG_2000_FAMILY:
            return j2k_size(frame)
        claimed = jpeg_size(frame)
        complete = jpeg_is_complete(frame)
    except ValueError as error:
        raise PixelDataUndecodable(f"The compressed stream is damaged: {error}.") from error
    if not complete:
        raise PixelDataTruncated("The compressed stream ends before its End of Image marker.")
    return claimed


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


def _compressed(frame: bytes, layout: _Layout) -> npt.NDArray[np.integer]:
    try:
        if layout.transfer_syntax_uid in JPEG_FAMILY:
            return np.asarray(imagecodecs.jpeg8_decode(frame))
        if layout.transfer_syntax_uid in JPEG_LS_FAMILY:
            return np.asarray(jpeg_ls.decode(np.frombuffer(frame, np.uint8)))
        return np.asarray(openjpeg_decode(frame))
    except (RuntimeError, ValueError, TypeError) as error:
        raise PixelDataUndecodable(f"The codec refuses the Pixel Data: {error}.") from error


def _significant(
    samples: npt.NDArray[np.integer], layout: _Layout, claimed: StreamSize | None = None
) -> Pixels:
    """Return bits ``high_bit - bits_stored + 1`` to ``high_bit``, sign-extended where signed.

    A compressed stream narrower than ``high_bit`` starts at bit 0, and its sign, where the codec
    has not extended it, is its own highest bit.
    """
    width, stored, low = layout.bits_allocated, layout.bits_stored, 0
    if claimed is None or claimed.precision > layout.high_bit:
        low = layout.high_bit + 1 - stored
    elif not claimed.signed:
        stored = min(stored, claimed.precision)
    unsigned = samples.astype(f"u{width // 8}", copy=False)
    above = width - low - stored
    if above:
        unsigned = unsigned << above
    wide = unsigned.view(f"i{width // 8}") if layout.signed else unsigned
    return wide >> (width - stored) if width > stored else wide


def _clipped(samples: npt.NDArray[np.integer], layout: _Layout, claimed: StreamSize) -> Pixels:
    """Return values clipped to Bits Stored: lossy ringing overshoots, masking would wrap it."""
    if layout.signed and not claimed.signed:
        return _significant(samples, layout, claimed)
    low = -(1 << (layout.bits_stored - 1)) if layout.signed else 0
    high = low + (1 << layout.bits_stored) - 1
    kind = "i" if layout.signed else "u"
    clipped = np.clip(samples.astype(np.int32, copy=False), low, high)
    return clipped.astype(f"{kind}{layout.bits_allocated // 8}")
