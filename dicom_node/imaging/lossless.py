"""Pictures of 8 bits, RGB, without loss: RLE, JPEG-LS and JPEG 2000 (PS3.5 section 8.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_node.imaging.rle import frame_of

_Picture = npt.NDArray[np.uint8]


def compressed(dataset: Dataset, transfer_syntax_uid: str) -> Dataset:
    """Return an uncompressed RGB picture, color-by-pixel, compressed: the same data set, changed.

    The instance stays what it is: no pixel is another one. Raises KeyError for a Transfer Syntax
    other than RLE Lossless, JPEG-LS Lossless and JPEG 2000 Lossless.
    """
    encode, photometric = _WAYS[transfer_syntax_uid]
    shape = (int(dataset.Rows), int(dataset.Columns), 3)
    picture = np.frombuffer(dataset.PixelData, np.uint8, count=int(np.prod(shape))).reshape(shape)
    dataset.PhotometricInterpretation = photometric
    dataset.PixelData = encapsulate([encode(picture)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return dataset


def _jpeg_ls(picture: _Picture) -> bytes:
    return bytes(imagecodecs.jpegls_encode(picture))


def _jpeg_2000(picture: _Picture) -> bytes:
    # Reversible: the 5/3 wavelet behind the reversible colour transform; a bare codestream.
    encoded = imagecodecs.jpeg2k_encode(
        picture, level=0, reversible=True, mct=True, codecformat="J2K", numthreads=1
    )
    return bytes(encoded)


_WAYS: Mapping[str, tuple[Callable[[_Picture], bytes], str]] = {
    RLELossless: (frame_of, "RGB"),
    JPEGLSLossless: (_jpeg_ls, "RGB"),
    JPEG2000Lossless: (_jpeg_2000, "YBR_RCT"),
}
"""By Transfer Syntax: what encodes, and the Photometric Interpretation of the result."""
