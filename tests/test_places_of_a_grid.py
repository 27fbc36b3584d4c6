"""Lines, grids and specks are looked for only where there is anything, and found all the same."""

from __future__ import annotations

import contourpy
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from dicom_node.findings import Region
from dicom_node.imaging.geometry import contours, on_grid
from dicom_node.imaging.opaque import LEVEL, SPECK, without_specks

Float = npt.NDArray[np.float32]


@st.composite
def heats(draw: st.DrawFn) -> Float:
    """Blobs on a grid, in a part of it or all over."""
    rows, columns = draw(st.integers(4, 60)), draw(st.integers(4, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    noise = gaussian_filter(rng.random((rows, columns)), draw(st.sampled_from([0.5, 1.0, 3.0])))
    heat = (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6)
    heat[: draw(st.integers(0, rows))] *= draw(st.sampled_from([0.0, 0.4, 1.0]))
    heat[:, draw(st.integers(0, columns)) :] *= draw(st.sampled_from([0.0, 0.4, 1.0]))
    return heat.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(heat=heats())
def test_lines_are_those_of_the_whole_grid(heat: Float) -> None:
    rows, columns = heat.shape
    lines = contourpy.contour_generator(z=np.pad(heat, 1)).lines(LEVEL)
    whole = [
        np.clip(np.asarray(line) - 0.5, 0, (columns, rows)).astype(np.float32)
        for line in sorted(lines, key=len, reverse=True)
        if len(line) >= 4
    ]
    found = contours(heat, LEVEL)
    assert [line.tolist() for line in found] == [line.tolist() for line in whole]


@settings(max_examples=60, deadline=None)
@given(heat=heats(), part=st.floats(0.01, 1.0))
def test_specks_and_holes_are_those_of_the_whole_grid(heat: Float, part: float) -> None:
    area = part * heat.size
    expected = heat.copy()
    expected[_small(expected > LEVEL, area)] = 0
    above = np.nextafter(np.float32(LEVEL), np.float32(1))
    holes = _small(expected <= LEVEL, area)
    expected[holes] = np.maximum(expected[holes], above)
    assert (without_specks(heat.copy(), area) == expected).all()


def _small(places: npt.NDArray[np.bool_], area: float) -> npt.NDArray[np.bool_]:
    pieces, count = label(places)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = places.size
    small: npt.NDArray[np.bool_] = (sizes < SPECK * area)[pieces]
    return small


@pytest.mark.parametrize("edge", [0, 8])
def test_a_mask_lies_where_it_lies_on_a_grid_of_a_part_of_the_film(edge: int) -> None:
    mask = np.zeros((16, 16), np.bool_)
    mask[edge : edge + 8, edge : edge + 4] = True
    # The grid has the mask's own cells: each keeps its value, and others are as empty as before.
    part = on_grid(mask, Region(0, 0, 160, 160), Region(40, 0, 160, 120), (12, 12))
    assert (part == mask[4:, :12]).all()


def test_an_empty_mask_is_nothing_on_any_grid() -> None:
    mask = np.zeros((16, 16), np.bool_)
    found = on_grid(mask, Region(0, 0, 9, 9), Region(3, 3, 20, 20), (7, 5))
    assert found.shape == (7, 5)
    assert not found.any()
