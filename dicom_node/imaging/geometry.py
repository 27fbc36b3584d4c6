"""From a network's grid back to the film: heat, and the lines around it.

Coordinates on the film run from the top-left corner of its first pixel, whose centre is
(0.5, 0.5) (PS3.3 C.18.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import numpy.typing as npt

from dicom_node.findings import Region, SaliencyMap
from dicom_node.imaging.prepare import Float

Polyline = npt.NDArray[np.float32]
"""Corners of a line, (corners, 2): column, row, in pixels of the stored matrix."""


def heat_on_film(saliency_map: SaliencyMap, rows: int, columns: int) -> Float:
    """Return the heat of every pixel of the film, float32 in [0, 1], shape (rows, columns).

    Linear between the centres of the grid's cells, constant beyond the outermost centres, 0
    outside the region that the network saw. The edges of the grid lie exactly on the edges of the
    region, so an area that is bright in the input is bright at its own place on the film, to
    within one pixel of whichever of the two grids is the coarser.
    """
    region, heat = saliency_map.region, saliency_map.heat
    down = _spread(heat.shape[0], region.top, region.bottom, rows)
    across = _spread(heat.shape[1], region.left, region.right, columns)
    return np.asarray(np.clip(down @ heat.astype(np.float32) @ across.T, 0, 1), np.float32)


def on_grid(
    values: npt.NDArray[np.float32 | np.bool_], of: Region, cell: Region, shape: tuple[int, int]
) -> Float:
    """Return values whose grid covers ``of`` on a grid of ``shape`` that covers ``cell``.

    Both are rectangles of the film. float32 in [0, 1]; interpolated as `heat_on_film` does.
    """
    down, across = shape[0] / (cell.bottom - cell.top), shape[1] / (cell.right - cell.left)
    rows, columns = values.shape
    y = _between(rows, (of.top - cell.top) * down, (of.bottom - cell.top) * down, shape[0])
    x = _between(columns, (of.left - cell.left) * across, (of.right - cell.left) * across, shape[1])
    found = np.zeros(shape, np.float32)
    if not (there := values != 0).any():
        return found
    # Most of a mask is empty, and so is what lies there.
    filled_rows, filled_columns = around(there)
    tall_part, wide_part = y.reached(filled_rows), x.reached(filled_columns)
    y, x = y.part(tall_part), x.part(wide_part)
    plane = values.astype(np.float32)
    # Two neighbours a place, one axis after the other: on grids of this size a product of matrices
    # costs ten times as much, most of it in waking threads.
    tall = plane[y.lower] * y.before[:, None] + plane[y.upper] * y.after[:, None]
    some, rest = np.take(tall, x.lower, axis=1), np.take(tall, x.upper, axis=1)
    some *= x.before
    rest *= x.after
    some += rest
    np.clip(some, 0, 1, out=found[tall_part, wide_part])
    return found


def cut_to_film(plane: Float, region: Region, film: tuple[int, int]) -> tuple[Float, Region]:
    """Return what lies on a film of a grid that may reach beyond it, and the rectangle of that.

    ``plane``: float32 in [0, 1], (rows, columns), covers ``region``, a part of which lies on the
    ``film`` of that shape. Its cells stay about as large; where none of their edges lies on the
    film's they are interpolated as `heat_on_film` does.
    """
    rows, columns = film
    there = Region(
        max(region.top, 0.0), max(region.left, 0.0),
        min(region.bottom, float(rows)), min(region.right, float(columns)),
    )  # fmt: skip
    if there == region:
        return np.ascontiguousarray(plane, np.float32), region
    down = plane.shape[0] / (region.bottom - region.top)
    across = plane.shape[1] / (region.right - region.left)
    top, bottom = (there.top - region.top) * down, (there.bottom - region.top) * down
    left, right = (there.left - region.left) * across, (there.right - region.left) * across
    edges = np.array([top, bottom, left, right])
    if (np.abs(edges - np.round(edges)) < _ON_EDGE).all():
        first, last, begin, end = np.round(edges).astype(int)
        return np.ascontiguousarray(plane[first:last, begin:end], np.float32), there
    shape = max(1, round(bottom - top)), max(1, round(right - left))
    return on_grid(np.asarray(plane, np.float32), region, there, shape), there


_ON_EDGE = 1e-6
"""Part of a cell within which an edge of the film lies on an edge of the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class _Between:
    """Of every pixel of an axis the cells on both sides, and the part that each has in it."""

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    before: Float
    after: Float

    def reached(self, cells: slice) -> slice:
        """Return the pixels that any of some neighbouring cells has a part in."""
        first = np.searchsorted(self.upper, cells.start)
        return slice(int(first), int(np.searchsorted(self.lower, cells.stop)))

    def part(self, pixels: slice) -> _Between:
        """Return the same of some pixels alone."""
        cells = self.lower[pixels], self.upper[pixels]
        return _Between(*cells, self.before[pixels], self.after[pixels])


def _between(cells: int, begin: float, end: float, pixels: int) -> _Between:
    """Return the linear interpolation of one axis; pixels outside take no part of any cell."""
    centres = np.arange(pixels) + 0.5
    inside = (centres >= begin) & (centres <= end)
    at = np.clip((centres - begin) / (end - begin) * cells - 0.5, 0, cells - 1)
    lower = np.minimum(at.astype(np.intp), max(cells - 2, 0))
    part = at - lower
    return _Between(
        lower,
        np.minimum(lower + 1, cells - 1),
        np.asarray(np.where(inside, 1 - part, 0), np.float32),
        np.asarray(np.where(inside, part, 0), np.float32),
    )


def _spread(cells: int, begin: float, end: float, pixels: int) -> Float:
    """Return the linear interpolation of one axis as a matrix, (pixels, cells)."""
    place = _between(cells, begin, end, pixels)
    matrix = np.zeros((pixels, cells), dtype=np.float32)
    every = np.arange(pixels)
    matrix[every, place.lower] = place.before
    matrix[every, place.upper] += place.after
    return matrix


def contours(heat: Float, level: float = 0.5) -> tuple[Polyline, ...]:
    """Return closed lines around everything hotter than ``level``, longest first.

    ``heat``: float32 in [0, 1], shape (rows, columns), as `heat_on_film` gives it. An area that
    touches the film's edge is closed along that edge.
    """
    rows, columns = heat.shape
    hot = heat > level
    if not hot.any():
        return ()
    # Lines run nowhere but around what is hot: the rest of the film need not be searched.
    down, across = around(hot)
    begin = (max(down.start - 1, 0), max(across.start - 1, 0))
    lines = _lines(heat[begin[0] : down.stop + 1, begin[1] : across.stop + 1], level)
    corner = (begin[1] - 0.5, begin[0] - 0.5)
    closed = (np.clip(line + corner, 0, (columns, rows)) for line in lines if len(line) >= 4)
    return tuple(line.astype(np.float32) for line in sorted(closed, key=len, reverse=True))


def around(places: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and the columns that hold all of some places, of which there is one."""
    down, across = np.flatnonzero(places.any(axis=1)), np.flatnonzero(places.any(axis=0))
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)


def _lines(heat: Float, level: float) -> list[npt.NDArray[np.float64]]:
    """Return the lines at ``level`` on a grid that is cold all around; its corner is (1, 1)."""
    rows, columns = heat.shape[0] + 2, heat.shape[1] + 2
    z = np.zeros((rows, columns))
    z[1:-1, 1:-1] = heat
    x, y = np.empty_like(z), np.empty_like(z)
    x[:], y[:] = np.arange(columns), np.arange(rows)[:, None]
    unmasked: Any = None
    # What `contour_generator` makes, without its copies and its search for numbers that are none.
    drawing = contourpy.SerialContourGenerator(
        x, y, z, unmasked, corner_mask=True, line_type=contourpy.LineType.Separate,
        fill_type=contourpy.FillType.OuterOffset, quad_as_tri=False,
        z_interp=contourpy.ZInterp.Linear,
    )  # fmt: skip
    lines: Any = drawing.lines(level)
    return list(lines)


def on_film(
    region: Region, grid_rows: int, grid_columns: int, row: float, column: float
) -> tuple[float, float]:
    """Return (row, column) on the film of a place on the grid, both counted from corners."""
    return (
        region.top + row / grid_rows * (region.bottom - region.top),
        region.left + column / grid_columns * (region.right - region.left),
    )
