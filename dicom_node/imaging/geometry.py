"""From a network's grid back to the film: heat, and the lines around it.

Coordinates on the film run from the top-left corner of its first pixel, whose centre is
(0.5, 0.5) (PS3.3 C.18.6).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    plane = values.astype(np.float32)
    # Two neighbours a place, one axis after the other: on grids of this size a product of matrices
    # costs ten times as much, most of it in waking threads.
    tall = plane[y.lower] * y.before[:, None] + plane[y.upper] * y.after[:, None]
    found, rest = np.take(tall, x.lower, axis=1), np.take(tall, x.upper, axis=1)
    found *= x.before
    rest *= x.after
    found += rest
    return np.asarray(np.clip(found, 0, 1, out=found), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Between:
    """Of every pixel of an axis the cells on both sides, and the part that each has in it."""

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    before: Float
    after: Float


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
    across = (np.flatnonzero(hot.any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = ((int(each[0]), int(each[-1]) + 1) for each in across)
    begin = (max(top - 1, 0), max(left - 1, 0))
    part = heat[begin[0] : bottom + 1, begin[1] : right + 1]
    lines = contourpy.contour_generator(z=np.pad(part, 1)).lines(level)
    corner = (begin[1] - 0.5, begin[0] - 0.5)
    closed = (np.clip(np.asarray(line) + corner, 0, (columns, rows)) for line in lines)
    return tuple(
        line.astype(np.float32) for line in sorted(closed, key=len, reverse=True) if len(line) >= 4
    )


def on_film(
    region: Region, grid_rows: int, grid_columns: int, row: float, column: float
) -> tuple[float, float]:
    """Return (row, column) on the film of a place on the grid, both counted from corners."""
    return (
        region.top + row / grid_rows * (region.bottom - region.top),
        region.left + column / grid_columns * (region.right - region.left),
    )
