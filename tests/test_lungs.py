"""Lungs: crop and mask are exact geometry, and their outlines tell what is no chest film."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node import resources
from dicom_node.analysis.alone import lung_finder
from dicom_node.analysis.outlines import outlines
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import open_bundle
from dicom_node.findings import Region
from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.grayscale import film_of
from dicom_node.imaging.header import read_dataset
from dicom_node.imaging.lungs import Lungs, lungs_from
from dicom_node.imaging.phantom import phantom
from dicom_node.imaging.prepare import equalised, prepare
from dicom_node.training.teaching.lessons.lungs import between_lungs


def _two_lungs(rows: int = 512, columns: int = 512) -> Lungs:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[64:192, 32:96] = probability[64:192, 160:224] = 1.0
    return lungs_from(probability, rows, columns)


def test_the_box_around_the_lungs_is_in_pixels_of_the_film() -> None:
    assert _two_lungs(1024, 512).box == Region(256.0, 64.0, 768.0, 448.0)


def test_without_lungs_the_box_is_the_film() -> None:
    assert lungs_from(np.zeros((8, 8), np.float32), 100, 200).box == Region(0, 0, 100, 200)


@given(
    rows=st.integers(40, 3000),
    columns=st.integers(40, 3000),
    top=st.integers(0, 200),
    left=st.integers(0, 200),
    height=st.integers(1, 56),
    width=st.integers(1, 56),
    margin=st.floats(0, 0.5),
)
def test_the_crop_lies_within_the_film_and_holds_the_lungs(
    rows: int, columns: int, top: int, left: int, height: int, width: int, margin: float
) -> None:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[top : top + height, left : left + width] = 1.0
    lungs = lungs_from(probability, rows, columns)
    box, crop = lungs.box, lungs.square(margin)
    assert 0 <= crop.top < crop.bottom <= rows
    assert 0 <= crop.left < crop.right <= columns
    sides = (crop.bottom - crop.top, crop.right - crop.left)
    assert sides[0] == sides[1] or rows in sides or columns in sides
    assert crop.top <= box.top + 1
    assert crop.bottom >= box.bottom - 1
    assert crop.left <= box.left + 1
    assert crop.right >= box.right - 1


def test_specks_are_no_lungs_and_holes_are_filled() -> None:
    probability = np.zeros((64, 64), dtype=np.float32)
    probability[10:50, 8:24] = probability[10:50, 40:56] = 0.9
    probability[30, 15] = 0.1
    probability[60, 60] = 0.9
    mask = lungs_from(probability, 64, 64).mask
    assert mask[30, 15]
    assert not mask[60, 60]


def test_the_mask_on_a_part_of_the_film_is_that_part_of_the_mask() -> None:
    lungs = _two_lungs()
    whole = lungs.mask_on(Region(0, 0, 512, 512), (256, 256), widen=0)
    assert np.array_equal(whole, lungs.mask)
    left = lungs.mask_on(Region(0, 0, 512, 256), (256, 128), widen=0)
    assert np.array_equal(left, lungs.mask[:, :128])
    assert lungs.mask_on(Region(0, 0, 512, 512), (256, 256), widen=2)[62, 40]


def test_a_network_that_sees_the_lungs_gets_their_crop_and_its_region() -> None:
    film = np.random.default_rng(1).random((512, 512), dtype=np.float32)
    contract = InputContract(rows=128, columns=128, region="lungs", margin=0.0, crop_top=0.0)
    grid, region = prepare(film, contract, _two_lungs())
    assert region == Region(64.0, 64.0, 448.0, 448.0)
    expected, _ = prepare(film[64:448, 64:448], InputContract(128, 128, crop_top=0.0))
    assert np.array_equal(grid, expected)


def test_hidden_outside_means_zero_outside_and_equalised_inside() -> None:
    film = np.random.default_rng(1).random((512, 512), dtype=np.float32) * 0.3
    contract = InputContract(
        rows=128, columns=128, region="lungs", outside="hidden", intensity="equalised"
    )
    grid, region = prepare(film, contract, _two_lungs())
    inside = _two_lungs().mask_on(region, (128, 128))
    assert grid[~inside].max() == 0.0
    assert grid[inside].max() == 1.0
    assert grid[inside].mean() == pytest.approx(0.5, abs=0.05)


def test_a_contract_that_needs_the_lungs_says_so_when_there_are_none() -> None:
    with pytest.raises(ValueError, match="needs the lungs"):
        prepare(np.zeros((64, 64), np.float32), InputContract(region="lungs"))


def test_an_equalised_film_has_a_flat_histogram() -> None:
    film = np.random.default_rng(2).random((300, 300), dtype=np.float32) * 0.9 + 0.1
    film = film**1.5
    assert np.histogram(equalised(film), bins=10, range=(0, 1))[0] == pytest.approx(9000, rel=0.1)


def test_what_lies_between_the_lungs_is_between_their_outer_edges() -> None:
    mask = np.zeros((3, 7), dtype=bool)
    mask[1, [1, 2, 5]] = True
    assert between_lungs(mask).tolist()[1] == [False, False, False, True, True, False, False]
    assert not between_lungs(mask)[[0, 2]].any()


@pytest.fixture(scope="module")
def sight() -> Sight:
    """The shipped lung segmentation, without a gate."""
    return Sight(None, lung_finder(open_bundle(resources.model_bundles(), "lung-unet")))


@pytest.mark.parametrize("shape", [(700, 700), (1300, 1000), (900, 1200)])
def test_the_lungs_of_a_phantom_are_found_and_let_through(
    sight: Sight, shape: tuple[int, int]
) -> None:
    drawn = phantom(4, rows=shape[0], columns=shape[1])
    seen = sight.look(drawn.film)
    assert seen.reason is None
    assert seen.film is drawn.film
    lungs = seen.lungs
    assert lungs is not None
    assert 0.15 < lungs.part < 0.6
    assert (lungs.rows, lungs.columns) == shape


def test_a_uniform_film_is_refused_as_such(sight: Sight) -> None:
    film = np.full((500, 500), 0.7, np.float32)
    assert sight.look(film).reason == "The film is uniform: there is nothing to analyse."


def _noise(film: Any) -> Any:
    return np.random.default_rng(0).random(film.shape, np.float32)


def _under_noise(film: Any) -> Any:
    return np.clip(film + np.random.default_rng(0).normal(0, 0.3, film.shape), 0, 1)


def _without_upper_bits(film: Any) -> Any:
    return ((film * 4095).astype(np.uint16) & 1023) / np.float32(1023)


@pytest.mark.parametrize("spoil", [_noise, _under_noise, _without_upper_bits])
@pytest.mark.parametrize("shape", [(700, 700), (1800, 1500)])
def test_noise_and_contour_maps_are_refused_whatever_lungs_are_found_in_them(
    sight: Sight, shape: tuple[int, int], spoil: Callable[[Any], Any]
) -> None:
    drawn = phantom(4, rows=shape[0], columns=shape[1])
    assert sight.look(drawn.film).reason is None
    assert "jump" in str(sight.look(spoil(drawn.film).astype(np.float32)).reason)


NOT_CHEST = (
    "not_chest/cr_ankle_mono1_jpegls.dcm",
    "not_chest/cr_ankle_mono1_jpeg12bit.dcm",
    "not_chest/cr_hip_mono2_jpeglossless.dcm",
    "not_chest/cr_dental_mono1_modality_lut_sequence.dcm",
    "not_radiograph/ct_head_j2k.dcm",
    "chest/cr_rsna_pa_jpegbaseline_wrong_mono1_tag.dcm",
)
CHEST = (
    "chest/cr_fuji_mono1_10bit_noheader.dcm",
    "chest/cr_philips_pa_mono1_15bit_j2k.dcm",
    "chest/cr_rsna_pa_jpegbaseline_mono2.dcm",
    "chest_derived/rg1_mono2_voi_lut_sequence.dcm",
)


def _film(real_data: Any, name: str) -> Any:
    return film_of(read_dataset((real_data / "dicom" / name).read_bytes()))


@pytest.mark.data
@pytest.mark.parametrize("name", NOT_CHEST)
def test_a_real_film_of_something_else_is_refused_by_its_pixels(
    sight: Sight, real_data: Any, name: str
) -> None:
    assert sight.look(_film(real_data, name)).reason is not None


@pytest.mark.data
@pytest.mark.parametrize("name", CHEST)
def test_a_real_chest_film_is_let_through_and_its_negative_is_not(
    sight: Sight, real_data: Any, name: str
) -> None:
    film = _film(real_data, name)
    assert sight.look(film).reason is None
    assert sight.look(1 - film).reason is not None


def test_the_outlines_measure_doubt_for_each_place_that_is_lung() -> None:
    probability = np.zeros((256, 256), dtype=np.float32)
    probability[64:192, 32:96] = probability[64:192, 160:224] = 1.0
    probability[:32, :] = 0.5
    seen = outlines(lungs_from(probability, 256, 256))
    assert seen.doubt == pytest.approx(32 * 256 / (2 * 128 * 64))
    assert seen.second == 1.0
