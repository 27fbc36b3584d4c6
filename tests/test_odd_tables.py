"""What a header says of grey levels is optional: what is broken is passed over, and told."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from dicom_node.imaging.grayscale import film_of, is_inverted, shown
from dicom_node.imaging.orientation import hanging
from dicom_node.imaging.phantom import Encoding, phantom, phantom_dataset

TRUTH = phantom(rows=200, columns=170).film


@cache
def phantom_of(bits: int, photometric: str = "MONOCHROME2") -> FileDataset:
    encoding = Encoding("CR", bits, photometric)  # type: ignore[arg-type]
    return phantom_dataset(rows=200, columns=170, encoding=encoding)


def film(bits: int = 12, **changed: object) -> FileDataset:
    dataset = deepcopy(phantom_of(bits))
    for keyword, value in changed.items():
        setattr(dataset, keyword, value)
    return dataset


def raw(dataset: FileDataset, tag: int, vr: str, value: bytes) -> FileDataset:
    """Put a value into a data set as a file would bring it."""
    dataset[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True  # noqa: FBT003
    )  # fmt: skip
    return dataset


def table(entries: int, data: bytes | list[int] | None, bits: int = 16, first: int = 0) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [entries % 65536, first % 65536, bits])
    if data is not None:
        item.add_new(0x00283006, "OW" if isinstance(data, bytes) else "US", data)
    return item


def ramp(entries: int = 4096, white: int = 65535) -> npt.NDArray[np.uint16]:
    return np.linspace(0, white, entries).astype("<u2")


def close_to_the_truth(dataset: FileDataset) -> bool:
    return bool(np.corrcoef(film_of(dataset).ravel(), TRUTH.ravel())[0, 1] > 0.97)


MISFITS = [4095, 4094, 2049, 2047, 2050, 100, 1, 0, 4097, 5000, 8192]
"""Numbers of words that are no table of 4096 entries, neither as words nor as bytes."""


@pytest.mark.parametrize("words", MISFITS)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_table_whose_size_fits_neither_form_is_never_guessed_at(words: int, bits: int) -> None:
    broken = table(4096, ramp()[np.arange(words) % 4096].tobytes(), bits)
    dataset = film(VOILUTSequence=Sequence([broken]))

    assert close_to_the_truth(dataset)
    assert shown(dataset).notes == ("unread:VOILUTSequence",)


@pytest.mark.parametrize("words", MISFITS)
def test_a_modality_table_that_does_not_fit_leaves_the_film_its_own_range(words: int) -> None:
    broken = table(4096, ramp()[np.arange(words) % 4096].tobytes())
    dataset = film(ModalityLUTSequence=Sequence([broken]))

    assert close_to_the_truth(dataset)
    assert shown(dataset).notes == ("unread:ModalityLUTSequence", "own_range")


@pytest.mark.parametrize("words", MISFITS)
def test_the_next_table_is_taken_where_the_first_does_not_fit(words: int) -> None:
    inverse = ramp()[::-1].copy()
    dataset = film(VOILUTSequence=Sequence([
        table(4096, ramp()[np.arange(words) % 4096].tobytes()), table(4096, inverse.tobytes()),
    ]))  # fmt: skip

    assert np.corrcoef(film_of(dataset).ravel(), TRUTH.ravel())[0, 1] < -0.97


@pytest.mark.parametrize(
    "item",
    [
        table(4096, b""),
        table(4096, None),
        Dataset(),
        table(0, b"\0" * 100),
        table(4096, ramp().byteswap().tobytes()),
        table(4096, np.random.default_rng(0).integers(0, 65536, 4096).astype("<u2").tobytes()),
    ],
    ids=["empty", "no data", "nothing", "65536 entries", "other byte order", "noise"],
)
def test_a_broken_table_falls_back_to_the_window_with_a_note(item: Dataset) -> None:
    dataset = film(VOILUTSequence=Sequence([item]))

    assert close_to_the_truth(dataset)
    assert shown(dataset).notes == ("unread:VOILUTSequence",)


@pytest.mark.parametrize("entries", [4095, 4096])
@pytest.mark.parametrize("form", ["words", "bytes", "numbers", "packed numbers"])
def test_a_table_that_fits_is_read_in_the_form_it_has(entries: int, form: str) -> None:
    values = (np.arange(entries) // 16).astype("<u2")
    packed = values.astype(np.uint8).tobytes() + b"\0" * (entries % 2)
    data: bytes | list[int] = {
        "words": values.tobytes(),
        "bytes": packed,
        "numbers": values.tolist(),
        "packed numbers": np.frombuffer(packed, "<u2").tolist(),
    }[form]  # type: ignore[assignment]
    dataset = film(VOILUTSequence=Sequence([table(entries, data, 8)]))

    seen = shown(dataset)

    assert seen.notes == ()
    assert np.abs(seen.film - np.floor(TRUTH * 255.9) / 255).max() < 0.02


def test_an_empty_sequence_or_function_says_nothing_and_needs_no_note() -> None:
    dataset = film(VOILUTSequence=Sequence([]), VOILUTFunction="")

    assert shown(dataset).notes == ()
    assert close_to_the_truth(dataset)


@pytest.mark.parametrize(
    "value", [b"2048,5", b"[00400, 00400]", b"wide", b"1e400 ", b"NaN ", b"2048\\x "]
)
@pytest.mark.parametrize("tag", [0x00281050, 0x00281051])
def test_a_window_that_cannot_be_read_is_as_if_absent(tag: int, value: bytes) -> None:
    dataset = raw(film(), tag, "DS", value)

    assert close_to_the_truth(dataset)
    keyword = pydicom.datadict.keyword_for_tag(tag)
    assert set(shown(dataset).notes) == {f"unread:{keyword}", "own_range"}


@pytest.mark.parametrize("value", [b"1,5 ", b"[1]", b"none"])
@pytest.mark.parametrize(
    ("tag", "vr"),
    [(0x00281053, "DS"), (0x00281052, "DS"), (0x00280008, "IS"), (0x00280120, "IS")],
)
def test_another_number_that_cannot_be_read_ends_no_film(tag: int, vr: str, value: bytes) -> None:
    dataset = raw(film(), tag, vr, value)

    assert close_to_the_truth(dataset)
    assert f"unread:{pydicom.datadict.keyword_for_tag(tag)}" in shown(dataset).notes


@pytest.mark.parametrize(
    "tag", [0x00082218, 0x00283000, 0x00283010, 0x00540220], ids=lambda tag: f"{tag:08X}"
)
def test_text_where_a_sequence_belongs_ends_no_film(tag: int) -> None:
    dataset = raw(film(), tag, "SQ", b"chest!")

    assert close_to_the_truth(dataset)
    assert f"unread:{pydicom.datadict.keyword_for_tag(tag)}" in shown(dataset).notes


@pytest.mark.parametrize(
    ("centre", "width"), [(128, 256), (40, 400), (60000, 100), (-600, 1500), (1, 1)]
)
def test_a_window_left_from_another_image_gives_way_to_the_film_s_own_range(
    centre: int, width: int
) -> None:
    dataset = film(16, WindowCenter=centre, WindowWidth=width)

    assert close_to_the_truth(dataset)
    assert shown(dataset).notes == ("own_range",)


def test_a_window_in_which_the_whole_film_is_one_grey_gives_way_to_its_own_range() -> None:
    dataset = phantom_dataset(rows=256, columns=240, encoding=Encoding(kind="CR", bits=8))
    truth = shown(dataset).film
    dataset.WindowCenter, dataset.WindowWidth = 32768, 65536

    found = shown(dataset)

    assert found.notes == ("own_range",)
    assert np.corrcoef(found.film.ravel(), truth.ravel())[0, 1] > 0.99


def test_a_narrow_window_that_shows_the_film_is_kept() -> None:
    middle = float(np.median(TRUTH[50:150, 42:128])) * 4095
    dataset = film(WindowCenter=middle, WindowWidth=600)

    assert shown(dataset).notes == ()
    assert (film_of(dataset) >= 1).mean() > 0.05


@pytest.mark.parametrize("said", [("L", "F"), ("R", "H"), ("F", "R"), ("H", "L")])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
def test_where_shape_and_photometric_interpretation_disagree_the_pixels_decide(
    photometric: str, shape: str, said: tuple[str, str]
) -> None:
    dataset = deepcopy(phantom_of(12, photometric))
    pixels = hanging(said).store(dataset.pixel_array)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.PatientOrientation, dataset.PresentationLUTShape = list(said), shape

    seen = shown(dataset)

    assert np.abs(hanging(said).hang(seen.film) - TRUTH).max() < 0.01
    contradict = (shape == "INVERSE") != (photometric == "MONOCHROME1")
    assert seen.notes == (("polarity",) if contradict else ())
    assert is_inverted(dataset) == (photometric == "MONOCHROME1")


def test_pixels_that_do_not_decide_leave_the_polarity_to_the_standard() -> None:
    dataset = film(PresentationLUTShape="INVERSE")
    noise = np.random.default_rng(0).integers(0, 4096, (200, 170)).astype("<u2")
    dataset.PixelData = noise.tobytes()

    assert is_inverted(dataset)
    assert shown(dataset).notes == ("polarity_stated",)
