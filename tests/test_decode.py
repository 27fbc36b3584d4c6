"""Every offered transfer syntax gives the known pixels, and no damaged object gives any."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from dicom_node.errors import (
    ImageError,
    PhotometricInterpretationUnsupported,
    PixelDataMissing,
    PixelDataTooLarge,
    PixelDataTruncated,
    PixelDataUndecodable,
    TransferSyntaxUnsupported,
)
from dicom_node.imaging import transfer_syntaxes as syntaxes
from dicom_node.imaging.decode import Pixels, decode
from dicom_node.imaging.header import read_dataset
from tests.codec_kit import htj2k, htj2k_lossy, j2k, j2k_lossy, small_phantom
from tests.standins import encapsulated

DCMTK = Path("/usr/bin")
ENCODERS: dict[str, tuple[str, ...]] = {
    syntaxes.EXPLICIT_LITTLE_ENDIAN: ("dcmconv", "+te"),
    syntaxes.IMPLICIT_LITTLE_ENDIAN: ("dcmconv", "+ti"),
    syntaxes.EXPLICIT_BIG_ENDIAN: ("dcmconv", "+tb"),
    syntaxes.RLE_LOSSLESS: ("dcmcrle",),
    syntaxes.JPEG_LOSSLESS_SV1: ("dcmcjpeg", "+e1"),
    syntaxes.JPEG_LOSSLESS: ("dcmcjpeg", "+el", "+sv", "6"),
    syntaxes.JPEG_EXTENDED: ("dcmcjpeg", "+ee", "+q", "98"),
    syntaxes.JPEG_BASELINE: ("dcmcjpeg", "+eb", "+q", "98"),
    syntaxes.JPEG_LS_LOSSLESS: ("dcmcjpls", "+el"),
    syntaxes.JPEG_LS_NEAR_LOSSLESS: ("dcmcjpls", "+en", "+md", "3"),
}


STREAMS: dict[str, Callable[[Pixels, int], bytes]] = {
    syntaxes.JPEG_2000_LOSSLESS: j2k,
    syntaxes.JPEG_2000: j2k_lossy,
    syntaxes.HTJ2K_LOSSLESS: htj2k,
    syntaxes.HTJ2K_LOSSLESS_RPCL: htj2k,
    syntaxes.HTJ2K: htj2k_lossy,
}


def saved(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def transcoded(dataset: FileDataset, transfer_syntax_uid: str, folder: Path) -> Path:
    """Save ``dataset`` in a transfer syntax, by an encoder that is not the node's decoder."""
    plain, target = folder / "plain.dcm", folder / "coded.dcm"
    if transfer_syntax_uid in STREAMS:
        stream = STREAMS[transfer_syntax_uid](decode(dataset), dataset.BitsStored)
        target.write_bytes(saved(encapsulated(dataset, stream, transfer_syntax_uid)))
        return target
    dataset.save_as(plain)
    tool, *options = ENCODERS[transfer_syntax_uid]
    if not (DCMTK / tool).exists():
        pytest.skip(f"{tool} of DCMTK is not installed")
    command = [str(DCMTK / tool), *options, str(plain), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def bits_for(transfer_syntax_uid: str) -> int:
    return 8 if transfer_syntax_uid == syntaxes.JPEG_BASELINE else 12


@pytest.mark.pacs
@pytest.mark.parametrize("transfer_syntax_uid", syntaxes.SUPPORTED_TRANSFER_SYNTAXES)
def test_every_offered_transfer_syntax_decodes_to_the_known_pixels(
    transfer_syntax_uid: str, tmp_path: Path
) -> None:
    bits = bits_for(transfer_syntax_uid)
    dataset = small_phantom(bits)
    truth = np.frombuffer(dataset.PixelData, np.uint8 if bits == 8 else "<u2").reshape(187, 160)
    coded = transcoded(dataset, transfer_syntax_uid, tmp_path)
    assert pydicom.dcmread(coded).file_meta.TransferSyntaxUID == transfer_syntax_uid
    pixels = decode(coded)
    assert pixels.shape == truth.shape
    assert pixels.dtype.isnative
    error = np.abs(pixels.astype(int) - truth)
    if transfer_syntax_uid in syntaxes.LOSSY:
        assert error.mean() < 0.004 * (1 << bits)
        assert error.max() < 0.03 * (1 << bits)
    else:
        assert error.max() == 0


@pytest.mark.pacs
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [
        syntaxes.EXPLICIT_BIG_ENDIAN,
        syntaxes.RLE_LOSSLESS,
        syntaxes.JPEG_LOSSLESS_SV1,
        syntaxes.JPEG_LS_LOSSLESS,
        syntaxes.JPEG_2000_LOSSLESS,
    ],
)
def test_signed_pixels_keep_their_sign_in_lossless_transfer_syntaxes(
    transfer_syntax_uid: str, bits: int, tmp_path: Path
) -> None:
    dataset = small_phantom(bits, signed=True)
    truth = decode(dataset)
    assert truth.dtype.kind == "i"
    assert truth.min() < 0 < truth.max()
    pixels = decode(transcoded(dataset, transfer_syntax_uid, tmp_path))
    np.testing.assert_array_equal(pixels, truth)


def test_overlay_bits_above_bits_stored_are_cut_off() -> None:
    dataset = small_phantom(12)
    truth = decode(dataset)
    dataset.PixelData = (truth | np.uint16(0x8000)).tobytes()
    np.testing.assert_array_equal(decode(dataset), truth)


def test_samples_stored_in_the_upper_bits_are_shifted_down() -> None:
    dataset = small_phantom(12)
    truth = decode(dataset)
    dataset.HighBit = 15
    dataset.PixelData = (truth << 4).astype("<u2").tobytes()
    np.testing.assert_array_equal(decode(dataset), truth)


def test_lossy_ringing_is_clipped_and_never_wraps_from_white_to_black() -> None:
    dataset = small_phantom(10)
    bright = np.full((187, 160), 1023, np.uint16)
    bright[::2, ::3] = 900
    stream = bytes(imagecodecs.jpeg8_encode(bright, level=30, bitspersample=12))
    assert np.asarray(imagecodecs.jpeg8_decode(stream)).max() > 1023
    pixels = decode(encapsulated(dataset, stream, syntaxes.JPEG_EXTENDED))
    assert pixels.max() == 1023
    assert pixels.min() > 500


@pytest.mark.data
def test_every_readable_shared_object_decodes_like_pydicom_where_pydicom_can(
    shared_data: Path,
) -> None:
    for file in sorted((shared_data / "dicom" / "chest_derived").glob("*.dcm")):
        if "deflated" in file.name:
            continue
        np.testing.assert_array_equal(decode(file), pydicom.dcmread(file).pixel_array, file.name)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("awkward/cr_rows_larger_than_pixel_data.dcm", PixelDataTruncated),
        ("awkward/truncated_cr_chest.dcm", PixelDataTruncated),
        ("awkward/dx_elbow_no_pixel_data_cyrillic.dcm", PixelDataMissing),
        ("awkward/cr_chest_pa_multibyte_charset_no_pixel_data.dcm", PixelDataMissing),
        ("chest_derived/rg1_deflated.dcm", TransferSyntaxUnsupported),
        ("not_radiograph/xa_multiframe_96.dcm", PixelDataUndecodable),
        ("not_radiograph/us_multiframe_jpeg_ybr.dcm", PhotometricInterpretationUnsupported),
    ],
)
def test_an_awkward_shared_object_fails_with_its_reason(
    shared_data: Path, name: str, error: type[ImageError]
) -> None:
    with pytest.raises(error):
        decode(shared_data / "dicom" / name)


@pytest.mark.parametrize(
    "keyword", ["Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation"]
)
def test_a_missing_attribute_of_the_pixels_is_named(keyword: str) -> None:
    dataset = small_phantom(12)
    delattr(dataset, keyword)
    with pytest.raises(PixelDataMissing, match=keyword):
        decode(dataset)


def test_a_pixel_bomb_is_refused_before_anything_is_decoded() -> None:
    dataset = small_phantom(12)
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(PixelDataTooLarge):
        decode(dataset)
    dataset.Rows = dataset.Columns = 100
    dataset.NumberOfFrames = 99_999_999
    with pytest.raises(PixelDataTooLarge):
        decode(dataset)


def test_the_size_limit_is_a_setting() -> None:
    with pytest.raises(PixelDataTooLarge):
        decode(small_phantom(12), max_megapixels=0.01)


def test_a_jpeg_2000_stream_that_claims_a_huge_image_never_reaches_the_codec() -> None:
    dataset = small_phantom(12)
    stream = bytearray(j2k(decode(dataset), 12))
    stream[8:16] = struct.pack(">II", 1 << 31, 1 << 31)
    with pytest.raises((PixelDataTooLarge, PixelDataUndecodable)):
        decode(encapsulated(dataset, bytes(stream), syntaxes.JPEG_2000_LOSSLESS))


@pytest.mark.parametrize(
    "transfer_syntax_uid", [syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_LS_LOSSLESS]
)
def test_a_jpeg_stream_of_another_size_than_the_header_is_refused(transfer_syntax_uid: str) -> None:
    other = np.zeros((300, 300), np.uint16)
    stream = (
        imagecodecs.jpegls_encode(other)
        if transfer_syntax_uid == syntaxes.JPEG_LS_LOSSLESS
        else imagecodecs.jpeg8_encode(other, lossless=True, bitspersample=16)
    )
    with pytest.raises(PixelDataUndecodable, match="300 × 300"):
        decode(encapsulated(small_phantom(12), bytes(stream), transfer_syntax_uid))


def test_an_rle_segment_that_is_too_short_is_refused() -> None:
    segment = b"\x81\x00" * 10
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    dataset = encapsulated(small_phantom(12), header + segment + segment, syntaxes.RLE_LOSSLESS)
    with pytest.raises((PixelDataTruncated, PixelDataUndecodable)):
        decode(dataset)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    "transfer_syntax_uid",
    [
        syntaxes.JPEG_LOSSLESS_SV1,
        syntaxes.JPEG_EXTENDED,
        syntaxes.JPEG_LS_LOSSLESS,
        syntaxes.JPEG_2000_LOSSLESS,
        syntaxes.HTJ2K_LOSSLESS,
    ],
)
def test_a_stream_that_ends_early_is_never_filled_up(transfer_syntax_uid: str, part: float) -> None:
    dataset = small_phantom(12)
    pixels = decode(dataset)
    encode: dict[str, Callable[[], bytes]] = {
        syntaxes.JPEG_LOSSLESS_SV1: lambda: bytes(
            imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=12)
        ),
        syntaxes.JPEG_EXTENDED: lambda: bytes(imagecodecs.jpeg8_encode(pixels, bitspersample=12)),
        syntaxes.JPEG_LS_LOSSLESS: lambda: bytes(imagecodecs.jpegls_encode(pixels)),
        syntaxes.JPEG_2000_LOSSLESS: lambda: j2k(pixels, 12),
        syntaxes.HTJ2K_LOSSLESS: lambda: htj2k(pixels, 12),
    }
    stream = encode[transfer_syntax_uid]()
    with pytest.raises((PixelDataTruncated, PixelDataUndecodable)):
        decode(encapsulated(dataset, stream[: int(len(stream) * part)], transfer_syntax_uid))


def test_a_length_of_four_gibibytes_with_a_thousand_bytes_behind_it_is_truncated() -> None:
    content = saved(small_phantom(12))
    start = content.rindex(b"\xe0\x7f\x10\x00OW")
    lying = content[: start + 8] + struct.pack("<I", 0xFFFFFFFE) + bytes(1000)
    with pytest.raises(PixelDataTruncated):
        decode(lying)


def test_undefined_length_followed_by_garbage_is_refused() -> None:
    dataset = encapsulated(small_phantom(12), b"\xff\xd8" + bytes(50), syntaxes.JPEG_LOSSLESS_SV1)
    content = saved(dataset)
    start = content.rindex(b"\xe0\x7f\x10\x00OB")
    with pytest.raises(ImageError):
        decode(content[: start + 12] + b"\x13\x37" * 500)


def test_uncompressed_pixels_under_a_compressed_label_are_refused() -> None:
    dataset = small_phantom(12)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntaxes.JPEG_2000_LOSSLESS)
    with pytest.raises(PixelDataUndecodable):
        decode(dataset)


def test_mutated_compressed_films_raise_image_errors_only() -> None:
    rng = np.random.default_rng(7)
    dataset = small_phantom(12)
    pixels = decode(dataset)
    for uid, stream in (
        (syntaxes.JPEG_2000_LOSSLESS, j2k(pixels, 12)),
        (syntaxes.JPEG_LS_LOSSLESS, bytes(imagecodecs.jpegls_encode(pixels))),
        (syntaxes.JPEG_EXTENDED, bytes(imagecodecs.jpeg8_encode(pixels, bitspersample=12))),
    ):
        for _ in range(60):
            mutated = bytearray(stream)
            for at in rng.integers(0, min(len(mutated), 400), 4):
                mutated[at] = rng.integers(0, 256)
            with suppress(ImageError):
                assert decode(encapsulated(dataset, bytes(mutated), uid)).shape == (187, 160)


def test_the_list_of_transfer_syntaxes_imports_no_codec() -> None:
    program = (
        "import sys, dicom_node.imaging.transfer_syntaxes;"
        "assert not {'imagecodecs', 'openjpeg', 'jpeg_ls', 'pydicom'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_decoding_the_same_bytes_from_file_bytes_or_data_set_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "film.dcm"
    small_phantom(12).save_as(file)
    for source in (file.read_bytes(), read_dataset(file)):
        np.testing.assert_array_equal(decode(source), decode(file))
