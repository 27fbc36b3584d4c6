"""Where on the film: what the network saw and what stood out, as closed lines.

Places are (column, row) in pixels of the stored matrix, counted from the top-left corner of its
first pixel (PS3.3 C.18.6.1.1), whatever the display does with the film.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dicom_node.findings import Region, SaliencyMap
from dicom_node.imaging.geometry import contours
from dicom_node.imaging.geometry import heat_on_film as heat_of
from dicom_node.results.films import AnalysedFilm

CONTOUR_LEVEL = 0.5
"""The heat at which the contour runs; 1 is the hottest place."""

_FINEST = 768
_TOLERANCE, _MOST_CORNERS = 0.5, 400

Polygon = npt.NDArray[np.float64]
"""A closed line, (corners, 2): column, row; the last corner is the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """``seen``: the rectangle that the network saw. ``salient``: contours, largest area first."""

    seen: Polygon
    salient: tuple[Polygon, ...]


def places_of(film: AnalysedFilm) -> Places:
    """Return where the network looked on a film; everything and nothing without a saliency map."""
    rows, columns = int(film.dataset.Rows), int(film.dataset.Columns)
    if not film.saliency:
        return Places(_rectangle(Region(0, 0, rows, columns)), ())
    region = film.saliency[0].region
    lines = (_on_film(line, film.saliency[0]) for line in _contours(film.saliency[0]))
    by_area = sorted(lines, key=_area, reverse=True)
    return Places(_rectangle(region), tuple(by_area))


def heat_on_picture(saliency: SaliencyMap, film: tuple[int, int], picture: tuple[int, int]) -> (
    npt.NDArray[np.float32]
):  # fmt: skip
    """Return the heat of every pixel of a picture of the whole film, float32 in [0, 1].

    ``film`` and ``picture``: (rows, columns). The edges of both lie on each other.
    """
    down, across = picture[0] / film[0], picture[1] / film[1]
    region = saliency.region
    scaled = Region(
        region.top * down, region.left * across, region.bottom * down, region.right * across
    )
    return heat_of(replace(saliency, region=scaled), *picture)


def simplified(line: Polygon) -> Polygon:
    """Return a closed line with fewer corners, nowhere further off than half a pixel.

    Coarser in steps of two where more than 400 corners are left. Douglas and Peucker, 1973.
    """
    tolerance = _TOLERANCE
    while len(kept := _douglas_peucker(line, tolerance)) > _MOST_CORNERS:
        tolerance *= 2
    return kept


def _contours(saliency: SaliencyMap) -> tuple[npt.NDArray[np.float32], ...]:
    # On the region alone, so that a line along its edge lies exactly there.
    rows, columns = _fine(saliency.region)
    own = replace(saliency, region=Region(0, 0, rows, columns))
    return contours(heat_of(own, rows, columns), CONTOUR_LEVEL)


def _fine(region: Region) -> tuple[int, int]:
    height, width = region.bottom - region.top, region.right - region.left
    return min(max(round(height), 2), _FINEST), min(max(round(width), 2), _FINEST)


def _on_film(line: npt.NDArray[np.float32], saliency: SaliencyMap) -> Polygon:
    region = saliency.region
    rows, columns = _fine(region)
    across = (region.right - region.left) / columns
    down = (region.bottom - region.top) / rows
    placed = line.astype(np.float64) * (across, down) + (region.left, region.top)
    return placed if (placed[0] == placed[-1]).all() else np.concatenate([placed, placed[:1]])


def _rectangle(region: Region) -> Polygon:
    left, top, right, bottom = region.left, region.top, region.right, region.bottom
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])


def _area(line: Polygon) -> float:
    x, y = line[:, 0], line[:, 1]
    return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2


def _douglas_peucker(line: Polygon, tolerance: float) -> Polygon:
    keep = np.zeros(len(line), bool)
    middle = len(line) // 2
    keep[[0, middle, -1]] = True
    waiting = [(0, middle), (middle, len(line) - 1)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        distance = _distances(line[first + 1 : last], line[first], line[last])
        far = int(distance.argmax())
        if distance[far] > tolerance:
            keep[first + 1 + far] = True
            waiting += [(first, first + 1 + far), (first + 1 + far, last)]
    return line[keep]


def _distances(points: Polygon, begin: Polygon, end: Polygon) -> npt.NDArray[np.float64]:
    """Return how far each point is from the stretch between ``begin`` and ``end``."""
    along = end - begin
    length = float(along @ along)
    share = np.clip((points - begin) @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.asarray(np.linalg.norm(points - (begin + share[:, None] * along), axis=1))
