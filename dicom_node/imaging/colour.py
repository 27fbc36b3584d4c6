"""Any picture that an archive holds, colour and several frames too: one frame, within bounds.

What the networks see is decoded by `decode`; this is for pages and DICOMweb alone. The size that
the header and the compressed stream claim is checked before anything is decoded, a frame is decoded
alone, and RLE never writes more than its frame needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import jpeg_ls
import numpy as np
import numpy.typing as npt
from openjpeg.utils import decode as openjpeg_decode
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from dicom_node.errors import (
    PhotometricInterpretationUnsupported,
    PixelDataMissing,
    PixelDataTooLarge,
    PixelDataTruncated,
    PixelDataUndecodable,
    TransferSyntaxUnsupported,
)
from dicom_node.imaging import codestream, rle
from dicom_node.imaging.codestream import Codec, StreamSize
from dicom_node.imaging.decode import claimed_size
from dicom_node.imaging.header import parsing, transfer_syntax_of
from dicom_node.imaging.transfer_syntaxes import (
    EXPLICIT_BIG_ENDIAN,
    JPEG_2000_FAMILY,
    JPEG_FAMILY,
    JPEG_LS_FAMILY,
    NATIVE,
    RLE_LOSSLESS,
)
from dicom_node.imaging.values import integer, text

Samples = npt.NDArray[np.uint8 | np.uint16]
"""Samples of one frame as stored, shape (rows, columns, samples), native byte order."""

_YBR = ("YBR_FULL", "YBR_FULL_422")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples of one frame lie (PS3.3 C.7.6.3)."""

    syntax: str
    rows: int
    columns: int
    samples: int
    bits: int
    planar: bool
    photometric: str
    frames: int

    @property
    def values(self) -> int:
        return self.rows * self.columns * self.samples

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.rows, self.columns, self.samples


def is_film(dataset: Dataset) -> bool:
    """Whether `decode` is for it: one frame of one sample a pixel."""
    samples, frames = integer(dataset, "SamplesPerPixel"), integer(dataset, "NumberOfFrames")
    return (samples or 1) == 1 and (frames or 1) == 1


def frame_count(dataset: Dataset) -> int:
    """Return how many frames the header tells; 0 without Pixel Data."""
    with parsing():
        has_pixels = "PixelData" in dataset
    return max(integer(dataset, "NumberOfFrames") or 1, 1) if has_pixels else 0


def samples_of(dataset: Dataset, number: int, *, max_megapixels: float) -> Samples:
    """Return the samples of frame ``number``, from 1 on; YBR as stored by JPEG becomes RGB.

    ``max_megapixels`` bounds the samples of all frames together. Raises ImageError leaves.
    """
    with parsing():
        layout = _layout(dataset, max_megapixels)
        if not 1 <= number <= layout.frames:
            raise PixelDataMissing(f"There is no frame {number}; the object has {layout.frames}.")
        content = dataset.PixelData
        if layout.syntax in NATIVE:
            return _native(content, layout, number)
        frame = get_frame(content, number - 1, number_of_frames=layout.frames)
        if layout.syntax == RLE_LOSSLESS:
            return _rle(frame, layout)
        stream = codestream.begun(frame) or b""
        claimed = _claimed(stream, layout)
        _refuse_other_size(claimed, layout)
        return _compressed(stream, claimed, layout)


def picture_of(dataset: Dataset, number: int, *, max_megapixels: float) -> Image.Image:
    """Return a frame as a display shows it, 8 bit grey or RGB. Raises ImageError leaves."""
    samples = samples_of(dataset, number, max_megapixels=max_megapixels)
    if samples.dtype.itemsize > 1:
        stored = min(max(integer(dataset, "BitsStored") or 16, 8), 16)
        samples = (samples >> (stored - 8)).astype(np.uint8)
    photometric = text(dataset, "PhotometricInterpretation")
    if samples.shape[2] == 1:
        grey = Image.fromarray(samples[:, :, 0])
        return Image.eval(grey, lambda value: 255 - value) if photometric == "MONOCHROME1" else grey
    is_stored_so = transfer_syntax_of(dataset) in (*NATIVE, RLE_LOSSLESS, *JPEG_LS_FAMILY)
    height, width = samples.shape[:2]
    mode = "YCbCr" if photometric in _YBR and is_stored_so else "RGB"
    whole = Image.frombuffer(
        mode, (width, height), np.ascontiguousarray(samples), "raw", mode, 0, 1
    )
    return whole.convert("RGB") if mode == "YCbCr" else whole


def _layout(dataset: Dataset, max_megapixels: float) -> _Layout:
    if "PixelData" not in dataset or not dataset.PixelData:
        raise PixelDataMissing("The object holds no Pixel Data.")
    found = {name: integer(dataset, name) or 0 for name in ("Rows", "Columns", "BitsAllocated")}
    layout = _Layout(
        syntax=transfer_syntax_of(dataset),
        rows=found["Rows"],
        columns=found["Columns"],
        samples=integer(dataset, "SamplesPerPixel") or 1,
        bits=found["BitsAllocated"],
        planar=integer(dataset, "PlanarConfiguration") == 1,
        photometric=text(dataset, "PhotometricInterpretation"),
        frames=frame_count(dataset),
    )
    if min(layout.rows, layout.columns) < 1:
        raise PixelDataMissing("Rows or Columns is missing: Pixel Data cannot be read without.")
    if layout.bits not in (8, 16) or layout.samples not in (1, 3):
        raise PhotometricInterpretationUnsupported(
            f"{layout.samples} samples a pixel of {layout.bits} bits are not shown here."
        )
    if layout.values * layout.frames > max_megapixels * 1_000_000:
        raise PixelDataTooLarge(
            f"{layout.rows} × {layout.columns} pixels of {layout.samples} sample(s), "
            f"{layout.frames} frame(s), exceed {max_megapixels:g} million samples."
        )
    return layout


def _native(content: bytes, layout: _Layout, number: int) -> Samples:
    if layout.photometric == "YBR_FULL_422":
        raise PhotometricInterpretationUnsupported("Uncompressed YBR_FULL_422 is not shown here.")
    stored = np.dtype(f"{'>' if layout.syntax == EXPLICIT_BIG_ENDIAN else '<'}u{layout.bits // 8}")
    start = (number - 1) * layout.values * stored.itemsize
    if len(content) < start + layout.values * stored.itemsize:
        raise PixelDataTruncated("Pixel Data is shorter than its header says.")
    samples = np.frombuffer(content, stored, count=layout.values, offset=start)
    return _by_pixel(samples.astype(stored.newbyteorder("="), copy=False), layout)


def _by_pixel(samples: npt.NDArray[np.uint8 | np.uint16], layout: _Layout) -> Samples:
    if not layout.planar:
        return samples.reshape(layout.shape)
    planes = samples.reshape(layout.samples, layout.rows, layout.columns)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _rle(frame: bytes, layout: _Layout) -> Samples:
    width = layout.bits // 8
    samples = np.zeros(layout.shape, f"u{width}")
    planes = rle.planes(frame, layout.samples * width, layout.rows * layout.columns)
    for index, plane in enumerate(planes):
        sample, byte = divmod(index, width)
        shifted = plane.reshape(layout.rows, layout.columns).astype(samples.dtype, copy=False)
        samples[:, :, sample] |= shifted << samples.dtype.type(8 * (width - 1 - byte))
    return samples


def _claimed(stream: bytes, layout: _Layout) -> StreamSize:
    if layout.syntax not in (*JPEG_FAMILY, *JPEG_LS_FAMILY, *JPEG_2000_FAMILY):
        raise TransferSyntaxUnsupported(
            f"Transfer Syntax {layout.syntax or '(not stated)'} cannot be decoded."
        )
    return claimed_size(stream)


def _refuse_other_size(claimed: StreamSize, layout: _Layout) -> None:
    if (claimed.rows, claimed.columns, claimed.components) != layout.shape:
        raise PixelDataTooLarge(
            f"The compressed stream holds {claimed.rows} × {claimed.columns} pixels of"
            f" {claimed.components} sample(s), the header says other ones; nothing was decoded."
        )


def _compressed(stream: bytes, claimed: StreamSize, layout: _Layout) -> Samples:
    try:
        if claimed.codec is Codec.JPEG:
            decoded = np.asarray(imagecodecs.jpeg8_decode(stream))
        elif claimed.codec is Codec.JPEG_LS:
            decoded = np.asarray(jpeg_ls.decode(np.frombuffer(stream, np.uint8)))
        else:
            decoded = np.asarray(openjpeg_decode(stream))
    except (RuntimeError, ValueError, TypeError) as error:
        raise PixelDataUndecodable(f"The codec refuses the Pixel Data: {error}.") from error
    if decoded.ndim == 2:
        decoded = decoded[:, :, np.newaxis]
    if decoded.shape != layout.shape or decoded.dtype.kind not in "ui":
        raise PixelDataUndecodable("The codec returned another image than the header describes.")
    return decoded.astype(f"u{layout.bits // 8}", copy=False)
