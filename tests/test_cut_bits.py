"""An image that Bits Stored cuts off is told from its pixels, and is not taken for a film."""

from __future__ import annotations

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import FileDataset

from dicom_node.imaging.decode import read_pixels
from dicom_node.imaging.grayscale import shown
from dicom_node.imaging.phantom import Encoding, phantom, phantom_dataset
from tests.standins import encapsulated

TRUTH = phantom(rows=256, columns=240).film


def film(bits: int, *, signed: bool = False) -> tuple[FileDataset, npt.NDArray[np.integer]]:
    encoding = Encoding(kind="CR", bits=bits, signed=signed)  # type: ignore[arg-type]
    dataset = phantom_dataset(rows=256, columns=240, encoding=encoding)
    return dataset, dataset.pixel_array


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "said"), [(12, 11), (12, 10), (12, 8), (16, 8), (16, 15)])
def test_a_film_whose_header_cuts_bits_off_is_read_with_all_of_them(
    bits: int, said: int, signed: bool
) -> None:
    dataset, pixels = film(bits, signed=signed)
    dataset.BitsStored, dataset.HighBit = said, said - 1

    read = read_pixels(dataset)

    assert read.notes == ("bits",)
    np.testing.assert_array_equal(read.pixels, pixels)
    assert np.abs(shown(dataset).film - TRUTH).max() < 0.01


@pytest.mark.parametrize("said", [9, 10, 11])
def test_a_lossless_stream_of_more_bits_than_the_header_says_is_read_whole(said: int) -> None:
    dataset, pixels = film(12)
    stream = bytes(imagecodecs.jpegls_encode(pixels.astype(np.uint16)))
    dataset.BitsStored, dataset.HighBit = said, said - 1
    encapsulated(dataset, stream, "1.2.840.10008.1.2.4.80")

    read = read_pixels(dataset)

    assert read.notes == ("bits",)
    np.testing.assert_array_equal(read.pixels, pixels)


def test_a_lossy_stream_of_more_bits_than_the_header_says_is_not_clipped() -> None:
    dataset, pixels = film(12)
    stream = imagecodecs.jpeg8_encode(pixels.astype(np.uint16), level=95, bitspersample=12)
    dataset.BitsStored, dataset.HighBit = 10, 9
    encapsulated(dataset, bytes(stream), "1.2.840.10008.1.2.4.51")

    read = read_pixels(dataset)

    assert read.notes == ("bits",)
    assert np.abs(read.pixels.astype(int) - pixels).max() < 100


def _all_set(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    return pixels | np.uint16(0xF000)


def _letters(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    drawn = pixels.copy()
    drawn[20:60, 20:200:9] |= np.uint16(0x1000)
    drawn[100:140:3, 40:90] |= np.uint16(0x8000)
    return drawn


def _planes(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    drawn = pixels.copy()
    drawn[20:200, 20:200:3] |= np.uint16(0x1000)
    drawn[30:34, 30:90] |= np.uint16(0x2000)
    return drawn


def _shutter(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    drawn = pixels.copy()
    drawn[:60] |= np.uint16(0x1000)
    drawn[:, :40] |= np.uint16(0x1000)
    return drawn


def _noise(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    return pixels | (rng.integers(0, 16, pixels.shape).astype(np.uint16) << np.uint16(12))


def _scattered(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    odd = pixels.copy()
    odd[5::50, 7::60] |= np.uint16(0x2000)
    return odd


@pytest.mark.parametrize("fill", [_all_set, _letters, _planes, _shutter, _noise, _scattered])
def test_what_is_no_image_in_the_unused_bits_is_cut_off_as_the_standard_has_it(fill) -> None:  # type: ignore[no-untyped-def]
    dataset, pixels = film(12)
    dataset.PixelData = fill(pixels.astype(np.uint16)).tobytes()

    read = read_pixels(dataset)

    assert read.notes == ()
    np.testing.assert_array_equal(read.pixels, pixels)


def test_a_signed_film_that_is_sign_extended_has_no_more_bits_than_it_says() -> None:
    dataset, pixels = film(12, signed=True)
    assert pixels.min() < 0

    assert read_pixels(dataset).notes == ()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 13), (10, 15), (10, 11), (14, 15)])
def test_a_high_bit_above_an_image_that_begins_at_bit_nought_loses_none_of_it(
    bits: int, high: int, signed: bool
) -> None:
    dataset, pixels = film(bits, signed=signed)
    dataset.HighBit = high

    read = read_pixels(dataset)

    assert read.notes == ("bits",)
    np.testing.assert_array_equal(read.pixels, pixels)


def test_an_image_that_lies_high_is_read_as_the_header_says() -> None:
    dataset, pixels = film(12)
    dataset.HighBit = 15
    dataset.PixelData = (pixels.astype("<u2") << 4).tobytes()

    read = read_pixels(dataset)

    assert read.notes == ()
    np.testing.assert_array_equal(read.pixels, pixels)
