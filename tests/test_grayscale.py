"""A film looks as on a display: as DCMTK renders it, and as the standard's formulas say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from dicom_node.errors import FilmWithoutContrast
from dicom_node.imaging.by_value import counted, looked_up
from dicom_node.imaging.decode import decode
from dicom_node.imaging.grayscale import Film, film_of, grayscale
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.phantom import Encoding, phantom, phantom_dataset

DCMJ2PNM = Path("/usr/bin/dcmj2pnm")
TOLERANCE = 2 / 65535
"""DCMTK renders to 16 bits and truncates where we round."""

ALIKE = (
    "rg1_explicit_le",
    "rg1_explicit_be",
    "rg1_rle",
    "rg1_jpegls_lossless",
    "rg1_j2k_lossless",
    "rg1_mono2_inverted_pixels",
)


def ramp_dataset(bits: int = 12, *, signed: bool = False) -> FileDataset:
    """A film with every value that it can store, without window or LUT."""
    size = 1 << bits
    encoding = Encoding(kind="CR", bits=bits, signed=signed)
    dataset = phantom_dataset(rows=64, columns=64, encoding=encoding)
    del dataset.WindowCenter, dataset.WindowWidth
    values = np.arange(size) - (size // 2 if signed else 0)
    dataset.Rows, dataset.Columns = 16, size // 16
    kind = f"<{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    dataset.PixelData = values.astype(kind).tobytes()
    return dataset


def lookup_table(entries: int, first: int, bits: int, data: npt.NDArray[np.integer]) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "US", [entries % 65536, first % 65536, bits])
    item.add_new(0x00283006, "OW", data.tobytes())
    return Sequence([item])


def rendered_by_dcmtk(dataset: FileDataset, folder: Path) -> Film:
    """Return DCMTK's rendering; pixels are handed over decoded, so that only rendering differs."""
    if not DCMJ2PNM.exists():
        pytest.skip("dcmj2pnm of DCMTK is not installed")
    plain, picture = folder / "plain.dcm", folder / "picture.pgm"
    pixels = decode(dataset)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    dataset["PixelData"].is_undefined_length = False
    pydicom.dcmwrite(plain, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    option = ["+Wl", "1"] if "VOILUTSequence" in dataset else ["+Wi", "1"]
    if not {"VOILUTSequence", "WindowCenter"} & set(dataset.dir()):
        option = []
    command = [str(DCMJ2PNM), "+opw", *option, str(plain), str(picture)]
    subprocess.run(command, check=True, capture_output=True)
    values = picture.read_text().split()
    columns, rows, white = (int(value) for value in values[1:4])
    return (np.array(values[4:], float).reshape(rows, columns) / white).astype(np.float32)


@pytest.mark.pacs
@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "chest/cr_fuji_mono1_10bit_noheader",
        "chest/cr_philips_pa_mono1_15bit_j2k",
        *(f"chest_derived/{name}" for name in ALIKE),
        "chest_derived/rg1_mono2_voi_lut_sequence",
        "not_chest/cr_hip_mono2_jpeglossless",
        "not_chest/cr_ankle_mono1_jpegls",
        "not_radiograph/ct_head_j2k",
    ],
)
def test_a_real_film_is_rendered_as_by_dcmtk(shared_data: Path, name: str, tmp_path: Path) -> None:
    dataset = read_dataset(shared_data / "dicom" / f"{name}.dcm")
    film = film_of(dataset)
    assert film.dtype == np.float32
    np.testing.assert_allclose(film, rendered_by_dcmtk(dataset, tmp_path), atol=TOLERANCE)


@pytest.mark.pacs
@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["cr_rsna_pa_jpegbaseline_mono2", "cr_rsna_pa_jpegbaseline_wrong_mono1_tag"]
)
def test_an_8_bit_film_without_window_is_rendered_as_it_is(
    shared_data: Path, name: str, tmp_path: Path
) -> None:
    dataset = read_dataset(shared_data / "dicom" / "chest" / f"{name}.dcm")
    film = film_of(dataset)
    np.testing.assert_allclose(film, rendered_by_dcmtk(dataset, tmp_path), atol=1 / 255)


@pytest.mark.data
def test_all_derived_variants_of_one_film_look_alike(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "chest_derived"
    reference = film_of(folder / "rg1_explicit_le.dcm")
    for name in ALIKE:
        film = film_of(folder / f"{name}.dcm")
        assert np.abs(film - reference).max() < 2 / 30000, name
    for name in ("rg1_mono2_voi_lut_sequence", "rg1_mono2_no_window"):
        film = film_of(folder / f"{name}.dcm")
        assert np.corrcoef(film.ravel(), reference.ravel())[0, 1] > 0.95, name


@pytest.mark.pacs
@pytest.mark.parametrize(
    ("photometric", "shape"),
    [
        ("MONOCHROME1", "INVERSE"),
        ("MONOCHROME1", None),
        ("MONOCHROME2", "IDENTITY"),
        ("MONOCHROME2", None),
    ],
)
def test_polarity_follows_presentation_lut_shape_as_in_dcmtk(
    photometric: str, shape: str | None, tmp_path: Path
) -> None:
    dataset = phantom_dataset(rows=128, columns=128, encoding=Encoding(kind="CR"))
    dataset.PhotometricInterpretation = photometric
    if shape:
        dataset.PresentationLUTShape = shape
    film = film_of(dataset)
    np.testing.assert_allclose(film, rendered_by_dcmtk(dataset, tmp_path), atol=TOLERANCE)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_known_film_comes_back_from_every_encoding(
    bits: int, photometric: str, signed: bool
) -> None:
    encoding = Encoding("CR", bits, photometric, signed)  # type: ignore[arg-type]
    truth = phantom(rows=200, columns=170).film
    film = film_of(phantom_dataset(rows=200, columns=170, encoding=encoding))
    assert np.abs(film - truth).max() < 0.51 / ((1 << bits) - 1)


@pytest.mark.parametrize(
    ("function", "centre", "width", "value", "brightness"),
    [
        ("LINEAR", 2048, 4096, 0, 0.0),
        ("LINEAR", 2048, 4096, 4095, 1.0),
        ("LINEAR", 100, 1, 99, 0.0),
        ("LINEAR", 100, 1, 100, 1.0),
        ("LINEAR", 100, 3, 100, 0.75),
        ("LINEAR_EXACT", 100, 4, 100, 0.5),
        ("LINEAR_EXACT", 100, 4, 101, 0.75),
        ("SIGMOID", 1000, 400, 1000, 0.5),
        ("SIGMOID", 1000, 400, 1100, 1 / (1 + np.exp(-1))),
    ],
)
def test_windows_follow_the_formulas_of_the_standard(
    function: str, centre: float, width: float, value: int, brightness: float
) -> None:
    dataset = ramp_dataset()
    dataset.VOILUTFunction = function
    dataset.WindowCenter, dataset.WindowWidth = centre, width
    assert film_of(dataset).ravel()[value] == pytest.approx(brightness, abs=1e-6)


def test_the_first_of_several_windows_is_taken() -> None:
    dataset = ramp_dataset()
    dataset.WindowCenter, dataset.WindowWidth = [1000, 3000], [200, 300]
    film = film_of(dataset).ravel()
    assert film[900] == 0
    assert film[1100] == 1


@pytest.mark.parametrize(("centre", "width"), [(1000, 0), (1000, -5), (60000, 10)])
def test_a_window_that_shows_nothing_is_passed_over(centre: int, width: int) -> None:
    dataset = ramp_dataset()
    dataset.WindowCenter, dataset.WindowWidth = centre, width
    film = film_of(dataset)
    assert film.min() == 0
    assert film.max() == 1


def test_rescale_is_applied_before_the_window() -> None:
    dataset = ramp_dataset()
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1000
    dataset.VOILUTFunction = "LINEAR_EXACT"
    dataset.WindowCenter, dataset.WindowWidth = 0, 1000
    film = film_of(dataset).ravel()
    np.testing.assert_allclose(film[[250, 500, 625, 750]], [0, 0.5, 0.75, 1], atol=1e-6)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_modality_lut_of_each_depth_is_looked_up(bits: int) -> None:
    dataset = ramp_dataset()
    white = (1 << bits) - 1
    table = np.linspace(0, white, 4096).round().astype("<u2")[::-1].copy()
    dataset.ModalityLUTSequence = lookup_table(4096, 0, bits, table)
    dataset.WindowCenter, dataset.WindowWidth = (white + 1) / 2, white + 1
    film = film_of(dataset).ravel()
    np.testing.assert_allclose(film, np.linspace(1, 0, 4096), atol=1 / white)


def test_a_lut_holds_its_first_and_last_entry_outside_its_range() -> None:
    dataset = ramp_dataset()
    dataset.VOILUTSequence = lookup_table(256, 1000, 16, np.linspace(0, 65535, 256).astype("<u2"))
    film = film_of(dataset).ravel()
    assert set(film[:1001]) == {0.0}
    assert set(film[1255:]) == {1.0}


@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_an_8_bit_voi_lut_with_many_entries_is_read_packed_or_not(dtype: str) -> None:
    dataset = ramp_dataset()
    table = (np.arange(4096) // 16).astype(dtype)
    dataset.VOILUTSequence = lookup_table(4096, 0, 8, table)
    film = film_of(dataset).ravel()
    np.testing.assert_allclose(film, (np.arange(4096) // 16) / 255, atol=1e-6)


def test_a_lut_of_65536_entries_says_zero() -> None:
    dataset = ramp_dataset(16)
    table = np.arange(65536).astype("<u2")
    dataset.VOILUTSequence = lookup_table(65536, 0, 16, table)
    np.testing.assert_allclose(film_of(dataset).ravel(), np.arange(65536) / 65535, atol=1e-6)


def test_a_signed_film_meets_a_lut_that_starts_below_zero() -> None:
    dataset = ramp_dataset(12, signed=True)
    table = np.linspace(0, 65535, 4096).astype("<u2")
    dataset.VOILUTSequence = lookup_table(4096, -2048, 16, table)
    np.testing.assert_allclose(film_of(dataset).ravel(), table / 65535, atol=1e-6)


def test_padding_is_black_and_does_not_stretch_the_contrast() -> None:
    pixels = np.random.default_rng(0).integers(1000, 1200, (100, 100)).astype(np.uint16)
    pixels[:30] = 4000
    dataset = ramp_dataset()
    dataset.PixelPaddingValue = 3900
    dataset.PixelPaddingRangeLimit = 4095
    film = grayscale(dataset, pixels)
    assert film[:30].max() == 0
    assert film[30:].max() == 1
    assert 0.4 < film[30:].mean() < 0.6


def test_padding_of_a_signed_film_is_found_whatever_vr_it_has() -> None:
    pixels = np.linspace(-100, 100, 400).astype(np.int16).reshape(20, 20)
    pixels[0] = -2000
    dataset = ramp_dataset()
    dataset.add_new(0x00280120, "US", 65536 - 2000)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    film = grayscale(dataset, pixels)
    assert film[0].max() == 0
    assert film[1, 0] == 1


def test_without_a_window_a_few_extreme_pixels_do_not_darken_the_film() -> None:
    pixels = np.random.default_rng(0).integers(10000, 20000, (200, 200)).astype(np.uint16)
    pixels[0, :20] = 65535
    film = grayscale(ramp_dataset(16), pixels)
    assert 0.45 < film.mean() < 0.55


@pytest.mark.data
def test_a_constant_film_is_refused(shared_data: Path) -> None:
    with pytest.raises(FilmWithoutContrast):
        film_of(shared_data / "dicom" / "awkward" / "cr_constant_image.dcm")


def test_a_film_that_is_padding_only_is_refused() -> None:
    dataset = ramp_dataset()
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 4095
    with pytest.raises(FilmWithoutContrast, match="Every pixel is padding"):
        film_of(dataset)


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16"])
def test_every_stored_value_is_counted_and_looked_up_however_large_the_film(kind: str) -> None:
    about = np.iinfo(kind)
    lowest, size = int(about.min), int(about.max) - int(about.min) + 1
    pixels = np.random.default_rng(5).integers(about.min, about.max, (600, 701), kind)
    values, counts = np.unique(pixels, return_counts=True)
    found = counted(pixels, lowest, size)
    assert np.array_equal(found[values.astype(int) - lowest], counts)
    assert found.sum() == pixels.size
    table = np.arange(size, dtype=np.float32)
    assert np.array_equal(looked_up(table, pixels, lowest), pixels.astype(np.float32) - lowest)
    turned = pixels[::2, ::-3]
    assert np.array_equal(looked_up(table, turned, lowest), turned.astype(np.float32) - lowest)
