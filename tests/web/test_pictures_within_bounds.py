"""Whatever is decoded for a page is bounded before it is decoded: colour, frames, lying streams."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicom_node.errors import ImageError
from dicom_node.imaging.colour import picture_of, samples_of
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.imaging.wrap import Identity
from dicom_node.records import Arrival, Origin
from dicom_node.web.arrivals import file_bytes_of
from tests.web.conftest import Site

NATIVE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
JPEG, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
SMALL = (48, 64)


def rainbow(rows: int = SMALL[0], columns: int = SMALL[1]) -> npt.NDArray[np.uint8]:
    down, across = np.mgrid[0:rows, 0:columns]
    values = (down * 255 // rows, across * 255 // columns, (down + across) % 256)
    return np.stack(values, axis=2).astype(np.uint8)


def colour(syntax: str, content: bytes, **header: object) -> Dataset:
    """Return a Secondary Capture of `SMALL` pixels in RGB, with ``header`` changed."""
    dataset = phantom_dataset(1, rows=64, columns=64, identity=Identity(study_instance_uid="1.2.7"))
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.7.1"
    dataset.Rows, dataset.Columns = SMALL
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.BitsAllocated = 0, 8
    dataset.BitsStored, dataset.HighBit = 8, 7
    for name, value in header.items():
        setattr(dataset, name, value)
    dataset.PixelData = content
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax != NATIVE
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def rle(pixels: npt.NDArray[np.uint8], *, too_much: int = 0) -> bytes:
    """Return one RLE frame; ``too_much``: each segment goes on for so many bytes."""
    planes = [imagecodecs.packbits_encode(np.ascontiguousarray(pixels[:, :, n]).tobytes())
              + bytes([129, 0]) * (too_much // 128) for n in range(3)]  # fmt: skip
    starts = np.cumsum([64, *map(len, planes)])[:3]
    return struct.pack("<16I", 3, *starts, *[0] * 12) + b"".join(planes)


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def j2k(pixels: npt.NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True))


def store(site: Site, dataset: Dataset) -> str:
    """Put an object into the archive, as C-STORE would; return its address."""
    stored = site.house.spool.write(file_bytes_of(dataset))
    site.house.ledger.received(
        Arrival(str(dataset.SOPInstanceUID), str(dataset.SOPClassUID),
                str(dataset.file_meta.TransferSyntaxUID), str(dataset.StudyInstanceUID),
                str(dataset.SeriesInstanceUID), stored.digest, stored.size_bytes,
                Origin("PACS", "NODE", "127.0.0.1"))
    )  # fmt: skip
    series = f"/dicom-web/studies/1.2.7/series/{dataset.SeriesInstanceUID}"
    return f"{series}/instances/{dataset.SOPInstanceUID}"


Content = Callable[[], bytes]
"""Made by the test that needs it: every worker collects all tests, and some of these are large."""


def planes_of(pixels: npt.NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()


@pytest.mark.parametrize(
    ("syntax", "content", "header", "tolerance"),
    [
        (NATIVE, lambda: rainbow().tobytes(), {}, 0),
        (NATIVE, lambda: planes_of(rainbow()), {"PlanarConfiguration": 1}, 0),
        (NATIVE, lambda: bytes(Image.fromarray(rainbow()).convert("YCbCr").tobytes()),
         {"PhotometricInterpretation": "YBR_FULL"}, 3),
        (RLE, lambda: encapsulate([rle(rainbow())]), {}, 0),
        # What follows the last pixel is never unpacked.
        (RLE, lambda: encapsulate([rle(rainbow(), too_much=10_000_000)]), {}, 0),
        (JPEG, lambda: encapsulate([jpeg(rainbow())]),
         {"PhotometricInterpretation": "YBR_FULL_422"}, 40),
        (JPEG_2000, lambda: encapsulate([j2k(rainbow())]),
         {"PhotometricInterpretation": "YBR_RCT"}, 0),
    ],
)  # fmt: skip
def test_a_colour_picture_is_shown_as_it_is(
    site: Site, syntax: str, content: Content, header: dict[str, object], tolerance: int
) -> None:
    address = store(site, colour(syntax, content(), **header))
    client = site.client("reader")
    answer = client.get(f"{address}/rendered", headers={"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    shown = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    assert np.abs(shown - rainbow()).max() <= tolerance
    assert client.get(f"{address}/frames/1").status_code == 200


def test_frames_of_several_are_given_one_by_one(site: Site) -> None:
    frames = [rainbow(), 255 - rainbow()]
    content = b"".join(each.tobytes() for each in frames)
    address = store(site, colour(NATIVE, content, NumberOfFrames=2))
    client = site.client("reader")
    for number, frame in enumerate(frames, start=1):
        assert frame.tobytes() in client.get(f"{address}/frames/{number}").content
    assert client.get(f"{address}/frames/3").status_code == 404


@pytest.mark.parametrize(
    ("syntax", "content", "header"),
    [
        (NATIVE, lambda: bytes(1000), {"Rows": 60_000, "Columns": 60_000}),
        (NATIVE, lambda: bytes(1000), {"Rows": 9000, "Columns": 9000}),
        (NATIVE, lambda: bytes(1000), {"NumberOfFrames": 1_000_000}),
        (NATIVE, lambda: bytes(1000), {}),
        (NATIVE, lambda: rainbow().tobytes(), {"SamplesPerPixel": 4}),
        (NATIVE, lambda: rainbow().tobytes(), {"BitsAllocated": 32}),
        (RLE, lambda: encapsulate([rle(rainbow())]), {"Rows": 17_920, "Columns": 17_920}),
        (RLE, lambda: encapsulate([b"\1"]), {}),
        (JPEG, lambda: encapsulate([jpeg(rainbow(4000, 6000))]), {}),
        (JPEG, lambda: encapsulate([jpeg(rainbow())]), {"Rows": 47}),
        (JPEG, lambda: encapsulate([b"no picture"]), {}),
        (JPEG_2000, lambda: encapsulate([j2k(rainbow(2000, 3000))]), {}),
        ("1.2.3.4", lambda: encapsulate([jpeg(rainbow())]), {}),
        (JPEG, lambda: b"", {}),
    ],
)  # fmt: skip
def test_what_is_larger_than_its_header_or_the_limit_is_refused_undecoded(
    site: Site,
    syntax: str,
    content: Content,
    header: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("It was decoded.")

    dataset = colour(syntax, content(), **header)
    for name in ("jpeg8_decode", "jpeg2k_decode"):
        monkeypatch.setattr(imagecodecs, name, decoded)
    with pytest.raises(ImageError):
        samples_of(dataset, 1, max_megapixels=200)
    with pytest.raises(ImageError):
        picture_of(dataset, 1, max_megapixels=200)
    if dataset.PixelData:
        address = store(site, dataset)
        client = site.client("reader")
        for what in ("rendered?viewport=64,64", "frames/1", "bulk/7FE00010"):
            assert client.get(f"{address}/{what}").status_code in (404, 422)
        assert client.get(f"{address}/metadata").status_code == 200


def test_a_sites_own_limit_holds_for_colour_too(site: Site) -> None:
    dataset = colour(NATIVE, rainbow().tobytes())
    assert samples_of(dataset, 1, max_megapixels=0.01).shape == (*SMALL, 3)
    with pytest.raises(ImageError, match="exceed"):
        samples_of(dataset, 1, max_megapixels=0.009)
