"""Grids of films are Pillow's, but for the last bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_node.imaging.resample import boxes, triangles

SIDES = st.integers(1, 700)
CELLS = st.integers(1, 260)


@settings(max_examples=60, deadline=None)
@given(rows=SIDES, columns=SIDES, down=CELLS, across=CELLS)
def test_a_film_on_any_grid_is_that_of_the_bilinear_filter(
    rows: int, columns: int, down: int, across: int
) -> None:
    film = np.random.default_rng(rows * columns).random((rows, columns), np.float32)
    expected = Image.fromarray(film).resize((across, down), Image.Resampling.BILINEAR)
    assert np.allclose(triangles(film, (down, across)), np.asarray(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(256, 256), (1024, 1024), (2991, 2430), (3056, 2544), (300, 999)]
)
def test_means_of_cells_are_those_of_the_box_filter(shape: tuple[int, int]) -> None:
    film = np.random.default_rng(3).random(shape, np.float32)
    expected = Image.fromarray(film).resize((256, 256), Image.Resampling.BOX)
    assert np.allclose(boxes(film, (256, 256)), np.asarray(expected), rtol=0, atol=1e-6)


def test_a_film_that_is_turned_or_mirrored_in_memory_is_read_as_it_lies() -> None:
    film = np.random.default_rng(4).random((90, 70), np.float32)
    for view in (film.T, film[::-1], film[:, ::-1], film[::2, ::3]):
        assert np.array_equal(triangles(view, (32, 32)), triangles(view.copy(), (32, 32)))
