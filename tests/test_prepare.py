"""What a network sees of a film, and the way back from its grid to the film."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.findings import Region, SaliencyMap
from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.geometry import contours, heat_on_film, on_film
from dicom_node.imaging.prepare import prepare

SHAPES = [(512, 512), (3000, 2500), (2500, 3056), (700, 2600), (2600, 700), (480, 480)]


def _planted(rows: int, columns: int, box: tuple[int, int, int, int]) -> np.ndarray:
    film = np.zeros((rows, columns), dtype=np.float32)
    top, left, bottom, right = box
    film[top:bottom, left:right] = 1.0
    return film


@pytest.mark.parametrize("shape", SHAPES)
def test_a_film_becomes_the_grid_of_the_contract(shape: tuple[int, int]) -> None:
    film = np.random.default_rng(1).random(shape, dtype=np.float32)
    grid, region = prepare(film)
    assert grid.shape == (480, 480, 3)
    assert grid.dtype == np.float32
    assert 0.0 <= grid.min() <= grid.max() <= 1.0
    assert np.array_equal(grid[..., 0], grid[..., 2])
    assert region == Region(round(shape[0] * 0.08), 0.0, shape[0], shape[1])


def test_the_top_eight_per_cent_of_a_film_are_not_seen() -> None:
    film = _planted(1000, 800, (0, 0, 80, 800))
    grid, region = prepare(film)
    assert region.top == 80
    assert grid.max() == 0.0


def test_a_uniform_film_stays_uniform_and_keeps_its_grey() -> None:
    grid, _ = prepare(np.full((900, 1300), 0.37, dtype=np.float32))
    assert np.allclose(grid, 0.37, atol=1e-6)


def test_a_fine_grating_is_averaged_and_not_aliased() -> None:
    film = np.zeros((3000, 3000), dtype=np.float32)
    film[:, ::2] = 1.0
    grid, _ = prepare(film)
    assert np.abs(grid - 0.5).max() < 0.05


def test_the_same_film_gives_the_same_bits() -> None:
    film = np.random.default_rng(2).random((777, 613), dtype=np.float32)
    assert np.array_equal(prepare(film)[0], prepare(film)[0])


def test_a_colour_array_is_refused() -> None:
    with pytest.raises(ValueError, match="Received"):
        prepare(np.zeros((10, 10, 3), dtype=np.float32))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bright_square_on_the_film_returns_to_its_place_within_a_pixel(
    shape: tuple[int, int],
) -> None:
    rows, columns = shape
    box = (int(rows * 0.41), int(columns * 0.23), int(rows * 0.66), int(columns * 0.52))
    grid, region = prepare(_planted(rows, columns, box))
    heat = heat_on_film(SaliencyMap("test", "test", grid[..., 0], region), rows, columns)
    hot_rows = np.flatnonzero((heat > 0.5).any(axis=1))
    hot_columns = np.flatnonzero((heat > 0.5).any(axis=0))
    found = (hot_rows[0], hot_columns[0], hot_rows[-1] + 1, hot_columns[-1] + 1)
    assert np.abs(np.subtract(found, box)).max() <= 1


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(64, 1500),
    columns=st.integers(64, 1500),
    cell=st.tuples(st.integers(0, 14), st.integers(0, 14)),
)
def test_a_single_hot_cell_lies_on_the_rectangle_that_the_region_says(
    rows: int, columns: int, cell: tuple[int, int]
) -> None:
    region = prepare(np.zeros((rows, columns), np.float32), InputContract(rows=32, columns=32))[1]
    heat = np.zeros((15, 15), dtype=np.float32)
    heat[cell] = 1.0
    on = heat_on_film(SaliencyMap("test", "test", heat, region), rows, columns)
    row, column = np.unravel_index(on.argmax(), on.shape)
    top, left = on_film(region, 15, 15, *cell)
    bottom, right = on_film(region, 15, 15, cell[0] + 1, cell[1] + 1)
    assert top - 1 <= row + 0.5 <= bottom + 1
    assert left - 1 <= column + 0.5 <= right + 1


def test_nothing_is_hot_outside_what_the_network_saw() -> None:
    heat = heat_on_film(
        SaliencyMap("t", "t", np.ones((15, 15), np.float32), Region(40, 10, 480, 390)), 500, 400
    )
    assert heat[:40].max() == heat[480:].max() == heat[:, :10].max() == heat[:, 390:].max() == 0.0
    assert heat[40:480, 10:390].min() == 1.0


def test_a_contour_encloses_the_hot_area_within_a_pixel() -> None:
    (line,) = contours(_planted(300, 200, (100, 50, 180, 120)))
    assert line.dtype == np.float32
    assert np.array_equal(line[0], line[-1])
    assert np.abs(line.min(axis=0) - (50, 100)).max() <= 1
    assert np.abs(line.max(axis=0) - (120, 180)).max() <= 1


def test_a_contour_at_the_rim_is_closed_along_the_rim() -> None:
    (line,) = contours(_planted(300, 200, (0, 0, 50, 200)))
    assert np.array_equal(line[0], line[-1])
    assert line.min() >= 0.0
    assert line[:, 0].max() <= 200.0


def test_a_cold_film_has_no_contour() -> None:
    assert contours(np.zeros((50, 50), dtype=np.float32)) == ()
