"""Small films and the streams of encoders that are not the node's decoders."""

from __future__ import annotations

import imagecodecs
from openjpeg.utils import encode_array
from pydicom.dataset import FileDataset

from dicom_node.imaging.decode import Pixels
from dicom_node.imaging.phantom import Encoding, phantom_dataset


def j2k(pixels: Pixels, bits: int) -> bytes:
    return bytes(encode_array(pixels, bits_stored=bits, photometric_interpretation=2))


def j2k_lossy(pixels: Pixels, bits: int) -> bytes:
    return bytes(
        encode_array(
            pixels, bits_stored=bits, photometric_interpretation=2, signal_noise_ratios=[70]
        )
    )


def htj2k(pixels: Pixels, bits: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))


def htj2k_lossy(pixels: Pixels, bits: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(pixels, level=0.0005, reversible=False))


def small_phantom(bits: int, *, signed: bool = False) -> FileDataset:
    encoding = Encoding(kind="CR" if signed else "DX", bits=bits, signed=signed)
    return phantom_dataset(rows=187, columns=160, encoding=encoding)
