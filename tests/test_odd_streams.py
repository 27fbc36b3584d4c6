"""A stream is decoded where every pixel is in it, whatever surrounds it; else it never is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from dicom_node.errors import ImageError, PixelDataTruncated
from dicom_node.imaging import transfer_syntaxes as syntaxes
from dicom_node.imaging.decode import Pixels, decode, read_pixels
from dicom_node.imaging.rle import frame_of, planes
from tests.codec_kit import htj2k, j2k, j2k_lossy, small_phantom
from tests.standins import encapsulated

END = b"\xff\xd9"

ENCODE: dict[str, Callable[[Pixels], bytes]] = {
    syntaxes.JPEG_BASELINE: lambda film: bytes(imagecodecs.jpeg8_encode(film, level=95)),
    syntaxes.JPEG_EXTENDED: lambda film: bytes(
        imagecodecs.jpeg8_encode(film, level=95, bitspersample=12)
    ),
    syntaxes.JPEG_LOSSLESS_SV1: lambda film: bytes(
        imagecodecs.jpeg8_encode(film, lossless=True, bitspersample=16)
    ),
    syntaxes.JPEG_LS_LOSSLESS: lambda film: bytes(imagecodecs.jpegls_encode(film)),
    syntaxes.JPEG_LS_NEAR_LOSSLESS: lambda film: bytes(imagecodecs.jpegls_encode(film, level=3)),
    syntaxes.JPEG_2000_LOSSLESS: lambda film: j2k(film, 12),
    syntaxes.JPEG_2000: lambda film: j2k_lossy(film, 12),
    syntaxes.HTJ2K_LOSSLESS: lambda film: htj2k(film, 12),
}

with_every_codec = pytest.mark.parametrize("uid", ENCODE)


phantom_of = cache(small_phantom)


def phantom_in(uid: str) -> FileDataset:
    return deepcopy(phantom_of(8 if uid == syntaxes.JPEG_BASELINE else 12))


@cache
def stream_in(uid: str) -> bytes:
    return ENCODE[uid](decode(phantom_in(uid)))


def read(uid: str, stream: bytes, odd: FileDataset | None = None) -> Pixels:
    return decode(encapsulated(odd or phantom_in(uid), stream, uid))


def fragments(*parts: bytes) -> bytes:
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(part)) + part for part in parts)


@with_every_codec
def test_a_stream_without_its_end_marker_is_decoded_with_a_note(uid: str) -> None:
    whole = stream_in(uid)
    dataset = encapsulated(phantom_in(uid), whole[: whole.rindex(END)], uid)

    found = read_pixels(dataset)

    assert found.notes == ("stream",)
    np.testing.assert_array_equal(found.pixels, read(uid, whole))


@with_every_codec
@pytest.mark.parametrize("before", [b"\0\0", b"\0" * 64, b"\xff", b"odd bytes", b"\xff\xd9\0"])
def test_bytes_before_the_first_marker_do_no_harm(uid: str, before: bytes) -> None:
    whole = stream_in(uid)

    found = read_pixels(encapsulated(phantom_in(uid), before + whole, uid))

    assert found.notes == ("stream",)
    np.testing.assert_array_equal(found.pixels, read(uid, whole))


@with_every_codec
@pytest.mark.parametrize("filled", [b"", END, b"\0" * 64, b"\xff", b"\xff" + END], ids=repr)
def test_a_stream_that_is_cut_is_never_filled_up_whatever_follows(uid: str, filled: bytes) -> None:
    whole = stream_in(uid)
    end = whole.rindex(END)
    for cut in (1, 2, 3, 8, end // 2):
        with pytest.raises(ImageError):
            read(uid, whole[: end - cut] + filled)


def test_a_cut_stream_says_that_it_ends_early() -> None:
    whole = stream_in(syntaxes.JPEG_BASELINE)
    with pytest.raises(PixelDataTruncated, match="ends before its last pixel"):
        read(syntaxes.JPEG_BASELINE, whole[: len(whole) // 2] + END)


def with_restarts(film: Pixels, keep: Callable[[int], bool]) -> bytes:
    """Return a JPEG stream with a restart marker a row of blocks, some of its intervals left out.

    Made from one stream of each row: with the row's own prediction, they are the intervals.
    """
    strips = [
        bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(film[top : top + 8]), level=95))
        for top in range(0, film.shape[0], 8)
    ]
    first = bytearray(strips[0])
    frame = first.index(b"\xff\xc0")
    first[frame + 5 : frame + 7] = struct.pack(">H", film.shape[0])
    scan = first.index(b"\xff\xda")
    restart = b"\xff\xdd\x00\x04" + struct.pack(">H", -(-film.shape[1] // 8))
    scans = [strip[strip.index(b"\xff\xda") + 10 : strip.rindex(END)] for strip in strips]
    kept = [part for number, part in enumerate(scans) if keep(number)]
    body = b"".join(
        (bytes((0xFF, 0xD0 + (number - 1) % 8)) if number else b"") + part
        for number, part in enumerate(kept)
    )
    return bytes(first[:scan]) + restart + bytes(first[scan : scan + 10]) + body + END


def test_a_stream_that_lacks_restart_intervals_is_cut() -> None:
    dataset = phantom_dataset_of(184)
    film = decode(dataset)

    whole = with_restarts(film, lambda _: True)
    assert np.abs(read(syntaxes.JPEG_BASELINE, whole, dataset).astype(int) - film).max() < 20
    for keep in (lambda n: n < 12, lambda n: n < 22, lambda n: n != 4):
        with pytest.raises(PixelDataTruncated):
            read(syntaxes.JPEG_BASELINE, with_restarts(film, keep), phantom_dataset_of(184))


def phantom_dataset_of(rows: int) -> FileDataset:
    dataset = small_phantom(8)
    dataset.PixelData = decode(dataset)[:rows].tobytes()
    dataset.Rows = rows
    return dataset


@with_every_codec
@pytest.mark.parametrize("table", ["each", "none", "wrong", "absent"])
@pytest.mark.parametrize("frames", [None, "1"])
def test_one_frame_is_all_fragments_whatever_the_offset_table_says(
    uid: str, table: str, frames: str | None
) -> None:
    whole = stream_in(uid)
    parts = [whole[:1000], whole[1000:3001], whole[3001:]]
    offsets = {"each": [0, 1008, 3017], "none": [], "wrong": [0, 77, 4_000_000], "absent": []}
    dataset = encapsulated(phantom_in(uid), whole, uid)
    first = () if table == "absent" else (struct.pack(f"<{len(offsets[table])}I", *offsets[table]),)
    dataset.PixelData = fragments(*first, *parts)
    dataset.NumberOfFrames = frames

    np.testing.assert_array_equal(decode(dataset), read(uid, whole))


@pytest.mark.parametrize("said", [uid for uid in ENCODE if uid != syntaxes.JPEG_BASELINE])
@pytest.mark.parametrize("uid", [uid for uid in ENCODE if uid != syntaxes.JPEG_BASELINE])
def test_the_stream_s_own_marker_names_the_codec(uid: str, said: str) -> None:
    whole = stream_in(uid)

    found = read_pixels(encapsulated(phantom_in(uid), whole, said))

    truth = read(uid, whole).astype(int)
    assert np.abs(found.pixels.astype(int) - truth).max() == 0


def rle(planes: list[bytes], extra: bytes = b"") -> bytes:
    segments = [bytes(imagecodecs.packbits_encode(plane)) + extra for plane in planes]
    starts = np.cumsum([64, *(len(segment) for segment in segments)])[: len(segments)]
    header = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def planes_of(film: Pixels) -> list[bytes]:
    return [(film >> 8).astype(np.uint8).tobytes(), (film & 255).astype(np.uint8).tobytes()]


@pytest.mark.parametrize(
    "extra", [b"\0", b"\0\0", b"\x00\x07", b"\x80", b"\xff\x07", b"\x81\x00" * 500, b"\x7f" * 300]
)
def test_what_follows_the_last_byte_of_an_rle_segment_is_padding(extra: bytes) -> None:
    dataset = small_phantom(12)
    film = decode(dataset)

    found = decode(encapsulated(dataset, rle(planes_of(film), extra), syntaxes.RLE_LOSSLESS))

    np.testing.assert_array_equal(found, film)


@pytest.mark.parametrize("missing", [1, 2, 100, 20_000])
def test_an_rle_segment_that_lacks_bytes_is_truncated(missing: int) -> None:
    dataset = small_phantom(12)
    planes = [plane[:-missing] for plane in planes_of(decode(dataset))]
    with pytest.raises(PixelDataTruncated):
        decode(encapsulated(dataset, rle(planes), syntaxes.RLE_LOSSLESS))


def test_pixels_that_are_no_stream_at_all_say_so() -> None:
    dataset = encapsulated(small_phantom(12), b"\0" * 5000, syntaxes.JPEG_BASELINE)
    with pytest.raises(ImageError, match="no compressed stream"):
        decode(dataset)
    assert pydicom.uid.UID(dataset.file_meta.TransferSyntaxUID).is_compressed


# Of HTJ2K nobody can tell: its blocks may hold zeros.
@pytest.mark.parametrize("uid", [uid for uid in ENCODE if uid != syntaxes.HTJ2K_LOSSLESS])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_zeros_in_place_of_coded_data_are_no_image_even_before_an_end_marker(
    uid: str, part: float
) -> None:
    whole = stream_in(uid)
    kept = whole[: int(len(whole) * part)]

    with pytest.raises(ImageError):
        read(uid, kept + bytes(len(whole) - len(kept) - len(END)) + END)


@with_every_codec
def test_codes_that_are_zeros_since_a_part_of_the_film_is_black_are_an_image(uid: str) -> None:
    film = decode(phantom_in(uid)).copy()
    film[-len(film) // 2 :] = 0
    film[:, -len(film) // 4 :] = 0
    odd = phantom_in(uid)

    found = read(uid, ENCODE[uid](film), odd)

    assert np.abs(found.astype(int) - film).mean() < 0.02 * film.max()


def test_zeros_in_a_comment_of_a_jpeg_say_nothing_of_its_image() -> None:
    uid = syntaxes.JPEG_BASELINE
    whole = stream_in(uid)
    comment = b"\xff\xfe" + struct.pack(">H", 502) + bytes(500)

    np.testing.assert_array_equal(read(uid, whole[:2] + comment + whole[2:]), read(uid, whole))


def test_an_rle_frame_that_ends_before_its_second_segment_is_said_to_be_cut() -> None:
    whole = struct.pack("<16I", 2, 64, 2000, *[0] * 13) + bytes(1000)

    with pytest.raises(PixelDataTruncated, match="ends before its last segment"):
        read(syntaxes.RLE_LOSSLESS, whole)


@pytest.mark.parametrize("columns", [1, 2, 127, 128, 129, 300])
def test_a_picture_in_rle_reads_back_whatever_its_width(columns: int) -> None:
    rng = np.random.default_rng(columns)
    picture = rng.integers(0, 3, (5, columns, 3)).astype(np.uint8)
    frame = frame_of(picture)
    assert len(frame) % 2 == 0
    read = [plane.reshape(5, columns) for plane in planes(frame, 3, 5 * columns)]
    assert (np.stack(read, axis=-1) == picture).all()
