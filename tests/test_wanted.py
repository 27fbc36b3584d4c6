"""What a declared network sees of a film, and where its answers lie on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.bundles.declared import WantedPixels
from dicom_node.imaging.lungs import lungs_from
from dicom_node.imaging.resample import triangles, triangles_on_black
from dicom_node.imaging.wanted import seen


def dotted(rows: int, columns: int, row: int, column: int, size: int = 1) -> np.ndarray:
    film = np.zeros((rows, columns), np.float32)
    film[row : row + size, column : column + size] = 1
    return film


@given(
    rows=st.integers(40, 300), columns=st.integers(40, 300),
    fit=st.sampled_from(["stretch", "pad", "crop"]), grid=st.sampled_from([(32, 32), (24, 40)]),
)  # fmt: skip
def test_a_place_of_the_grid_lies_on_the_film_where_its_light_came_from(
    rows: int, columns: int, fit: str, grid: tuple[int, int]
) -> None:
    wanted = WantedPixels(rows=grid[0], columns=grid[1], fit=fit)  # type: ignore[arg-type]
    size = min(rows, columns) // 8
    top, left = (rows - size) // 2 - size // 3, (columns - size) // 2 + size // 3
    looked = seen(dotted(rows, columns, top, left, size), wanted)
    weight = looked.grey / looked.grey.sum()
    row = float((weight.sum(1) * (np.arange(grid[0]) + 0.5)).sum())
    column = float((weight.sum(0) * (np.arange(grid[1]) + 0.5)).sum())
    found = looked.place(column, row)
    assert found == pytest.approx((left + size / 2, top + size / 2), abs=looked.across * 0.6 + 0.5)


def test_padded_films_keep_their_aspect_ratio_and_are_black_around() -> None:
    film = np.ones((100, 200), np.float32)
    looked = seen(film, WantedPixels(rows=40, columns=40, fit="pad"))
    assert looked.across == looked.down == 5.0
    assert looked.grey[:9].max() == 0.0 == looked.grey[-9:].max()
    assert looked.grey[12:28].min() == 1.0


def test_cropped_films_keep_their_middle() -> None:
    looked = seen(dotted(100, 200, 45, 95, 10), WantedPixels(rows=40, columns=40, fit="crop"))
    region = looked.region
    assert (region.top, region.bottom, region.left, region.right) == (0, 100, 50, 150)
    assert np.unravel_index(looked.grey.argmax(), looked.grey.shape)[0] in range(17, 23)


def test_values_become_what_the_network_was_taught_on() -> None:
    film = np.full((64, 64), 0.5, np.float32)
    odd = WantedPixels(rows=32, columns=32, values=(-1024.0, 1024.0))
    assert seen(film, odd).grid.shape == (32, 32, 1)
    assert np.allclose(seen(film, odd).grid, 0.0)
    natural = WantedPixels(
        rows=32, columns=32, channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    assert seen(film, natural).grid[0, 0] == pytest.approx(
        [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225], rel=1e-5
    )


def test_the_lungs_are_the_region_where_they_were_found() -> None:
    probability = np.zeros((64, 64), np.float32)
    probability[16:48, 16:48] = 1
    lungs = lungs_from(probability, 640, 640)
    wanted = WantedPixels(rows=32, columns=32, region="lungs")
    looked = seen(np.zeros((640, 640), np.float32), wanted, lungs)
    assert (looked.region.top, looked.region.left) == (160, 160)
    none = lungs_from(np.zeros((64, 64), np.float32), 640, 640)
    assert seen(np.zeros((640, 640), np.float32), wanted, none).region.bottom == 640


@given(
    film=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    more=st.tuples(*[st.integers(0, 30)] * 4),
)
def test_black_around_a_film_is_what_it_would_be_in_a_picture(
    film: tuple[int, int], more: tuple[int, int, int, int]
) -> None:
    values = np.random.default_rng(film[0]).random(film).astype(np.float32)
    above, below, before, behind = more
    whole = np.pad(values, ((above, below), (before, behind)))
    found = triangles_on_black(values, (16, 12), whole.shape, (above, before))
    assert np.allclose(found, triangles(whole, (16, 12)), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (1, 1), (2, 3000)])
@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_film_of_one_row_costs_no_picture_of_its_length_each_way(
    shape: tuple[int, int], fit: str
) -> None:
    wanted = WantedPixels(rows=48, columns=40, fit=fit)  # type: ignore[arg-type]
    looked = seen(np.ones(shape, np.float32), wanted)
    assert looked.grey.shape == (48, 40)
    assert looked.grey.max() > 0
