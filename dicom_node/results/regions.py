"""Where on the film: what the network saw and what stood out, as closed lines.

Places are (column, row) in pixels of the stored matrix, counted from the top-left corner of its
first pixel (PS3.3 C.18.6.1.1), whatever the display does with the film.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import label

from dicom_node.chest import FINDING_CLASSES, opacities_by_class
from dicom_node.findings import (
    Evidence,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.geometry import contours, on_grid
from dicom_node.imaging.geometry import heat_on_film as heat_of
from dicom_node.imaging.opaque import GRID, LEVEL, drawn, without_specks
from dicom_node.imaging.orientation import Hanging
from dicom_node.imaging.values import integer
from dicom_node.results.films import AnalysedFilm, once_a_film, once_a_study

CONTOUR_LEVEL = 0.5
"""The heat at which the contour runs; 1 is the hottest place."""

LEAST_CHANGE = 0.05
"""The fall of a class's probability from which on what was hidden is drawn."""

_FINEST = 768
_TOLERANCE, _MOST_CORNERS = 0.5, 400
_MOST_AREAS = 12
"""Of a mask in one line: with their corners they fit into a value of 65534 bytes."""

Heat = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Polygon = npt.NDArray[np.float64]
"""A closed line, (corners, 2): column, row; the last corner is the first."""


@dataclass(frozen=True, eq=False)
class Places:
    """Places on one film.

    ``seen``: the rectangle that the network saw. ``salient``: contours of what weighed for the
    class, largest area first. ``lungs``: the outline of each lung found, by side. ``parts``: of
    each graded part of the lungs, by its name in the findings, the lung in it; where no lungs were
    found, the part of the rectangle. ``opaque``: contours of what is mapped opaque, largest first;
    ``opaque_in``: the same of each lung, by side, as one line; only of lungs where anything is.
    """

    seen: Polygon
    salient: tuple[Polygon, ...]
    lungs: Mapping[str, Polygon] = field(default_factory=dict)
    parts: Mapping[str, Polygon] = field(default_factory=dict)
    opaque: tuple[Polygon, ...] = ()
    opaque_in: Mapping[str, Polygon] = field(default_factory=dict)

    @cached_property
    def both_lungs(self) -> Polygon | None:
        """Both outlines as one closed line, joined by the shortest way there and back."""
        outlines = [simplified(line) for line in self.lungs.values()]
        if len(outlines) < 2:
            return outlines[0] if outlines else None
        return _joined(*outlines)


@once_a_study
def places_of(film: AnalysedFilm) -> Places:
    """Return what is drawn on a film; everything and nothing without a saliency map.

    What has no matrix has no places.
    """
    rows, columns = (integer(film.dataset, name) or 0 for name in ("Rows", "Columns"))
    if not rows or not columns:
        return Places(np.zeros((0, 2)), ())
    if not film.saliency:
        return Places(_rectangle(Region(0, 0, rows, columns)), ())
    region = film.saliency[0].region
    first = film.saliency[0]
    # What was observed has places of its own.
    salient = () if is_observed(film, first) else contours_of(film, first)
    lungs, parts = _lungs(film, region), parts_of(film)
    opaque, by_side = opaque_contours(film), _opaque_in(film)
    return Places(_rectangle(region), salient, lungs, parts, opaque, by_side)


def whole_film(film: AnalysedFilm) -> Polygon | None:
    """Return the edges of a film; None of what has no matrix."""
    rows, columns = (integer(film.dataset, name) or 0 for name in ("Rows", "Columns"))
    return _rectangle(Region(0, 0, rows, columns)) if rows and columns else None


def area_contours(film: AnalysedFilm, network: str, key: str) -> tuple[Polygon, ...]:
    """Return lines around a mask that was observed, and around holes in it, largest area first.

    () where nothing reaches its threshold, or the explanation does not hold it.
    """
    found = [area for area in film.explanation.areas if (area.network, area.key) == (network, key)]
    if not found:
        return ()
    region, threshold = found[0].region, found[0].threshold
    values = on_grid(found[0].probability, region, region, _fine(region))
    # What is as probable as the threshold belongs to it; lines run around what is above a level.
    level = float(np.nextafter(np.float32(threshold), np.float32(-1)))
    lines = (_on_film(line, region, values.shape) for line in contours(values, level))
    return tuple(sorted(lines, key=_area, reverse=True))


def area_mask(film: AnalysedFilm, network: str, key: str) -> Mask | None:
    """Return which pixels of the film a mask covers that was observed, bool (Rows, Columns).

    None where the explanation does not hold it.
    """
    found = [area for area in film.explanation.areas if (area.network, area.key) == (network, key)]
    if not found:
        return None
    values, region, whole = found[0].probability, found[0].region, _whole(film)
    rows, columns = film.shape
    covered = on_grid(values, region, whole, (rows, columns)) >= found[0].threshold
    # Beyond what the network saw there is nothing, whatever its threshold.
    top, left, bottom, right = map(round, (region.top, region.left, region.bottom, region.right))
    inside = np.zeros_like(covered)
    inside[max(top, 0) : bottom, max(left, 0) : right] = True
    return np.asarray(covered & inside)


def area_line(film: AnalysedFilm, network: str, key: str) -> Polygon | None:
    """Return `area_contours` as one closed line: the largest areas, joined where nearest."""
    lines = area_contours(film, network, key)
    areas = [line for line in lines if _turn(line) == _turn(lines[0])][:_MOST_AREAS]
    return reduce(_joined, map(simplified, areas)) if areas else None


@once_a_film
def opaque_area(film: AnalysedFilm) -> Heat | None:
    """Return what is mapped opaque, on the `GRID` over what the map covers: see `drawn`.

    None where nothing was mapped at all.
    """
    opacity = film.explanation.opacity
    if opacity is None:
        return None
    return drawn(opacity, film.lungs, _whole(film), opacity.region, GRID)


def opaque_on(film: AnalysedFilm, shape: tuple[int, int]) -> Heat | None:
    """Return `opaque_area` on a grid of ``shape`` that covers the whole film."""
    opacity, area = film.explanation.opacity, opaque_area(film)
    if opacity is None or area is None:
        return None
    return on_grid(area, opacity.region, _whole(film), shape)


@dataclass(frozen=True, slots=True, eq=False)
class OpaquePart:
    """The part of a picture of the film in which anything is mapped opaque.

    ``heat``: as of `opaque_on`; its first place is at (``left``, ``top``) of the picture.
    """

    left: int
    top: int
    heat: Heat


def opaque_part(film: AnalysedFilm, shape: tuple[int, int]) -> OpaquePart | None:
    """Return what of `opaque_on` holds everything above `LEVEL`; None where nothing is."""
    opacity, area = film.explanation.opacity, opaque_area(film)
    if opacity is None or area is None or not (area > LEVEL).any():
        return None
    whole, seen = _whole(film), opacity.region
    down, across = shape[0] / whole.bottom, shape[1] / whole.right
    rows, columns = (area > LEVEL).nonzero()
    top, bottom = _reach(rows, (seen.top * down, seen.bottom * down), (GRID[0], shape[0]))
    left, right = _reach(columns, (seen.left * across, seen.right * across), (GRID[1], shape[1]))
    cell = Region(top / down, left / across, bottom / down, right / across)
    return OpaquePart(left, top, on_grid(area, seen, cell, (bottom - top, right - left)))


def _reach(
    found: npt.NDArray[np.intp], edges: tuple[float, float], sizes: tuple[int, int]
) -> tuple[int, int]:
    """Return between which pixels of an axis the cells ``found``, and their neighbours, lie.

    ``edges``: where on that axis the grid begins and ends; ``sizes``: its cells, and the pixels.
    """
    cells, pixels = sizes
    size = (edges[1] - edges[0]) / cells
    first = int(edges[0] + (int(found.min()) - 1) * size)
    last = int(edges[0] + (int(found.max()) + 2) * size) + 1
    return max(first, 0), min(last, pixels)


@once_a_study
def opaque_contours(film: AnalysedFilm) -> tuple[Polygon, ...]:
    """Return lines around what is mapped opaque, and around holes in it, largest area first."""
    area = opaque_area(film)
    return () if area is None else _lines_around(area, film)


def _lines_around(area: Heat, film: AnalysedFilm) -> tuple[Polygon, ...]:
    assert film.explanation.opacity is not None
    region = film.explanation.opacity.region
    lines = (_on_film(line, region, area.shape) for line in contours(area, LEVEL))
    return tuple(sorted(lines, key=_area, reverse=True))


def _opaque_in(film: AnalysedFilm) -> Mapping[str, Polygon]:
    """Return what is mapped opaque in each lung as one line: its areas, joined where nearest."""
    area, opacity = opaque_area(film), film.explanation.opacity
    if area is None or opacity is None or not _has_lungs(film):
        return {}
    half, seen = right_of(opacity.region, film), opacity.region
    down, across = GRID[0] / (seen.bottom - seen.top), GRID[1] / (seen.right - seen.left)
    right = np.zeros(GRID, bool)
    right[
        round((half.top - seen.top) * down) : round((half.bottom - seen.top) * down),
        round((half.left - seen.left) * across) : round((half.right - seen.left) * across),
    ] = True
    found = {}
    for side, mask in (("right", right), ("left", ~right)):
        lines = _lines_around(np.where(mask, area, np.float32(0)), film)
        # Holes run the other way round than areas do.
        areas = [line for line in lines if _turn(line) == _turn(lines[0])]
        if areas:
            found[side] = reduce(_joined, map(simplified, areas))
    return found


def _whole(film: AnalysedFilm) -> Region:
    rows, columns = film.shape  # of the film as it is drawn: upright in a capture
    return Region(0.0, 0.0, float(rows), float(columns))


def _has_lungs(film: AnalysedFilm) -> bool:
    return film.lungs is not None and bool(film.lungs.mask.any())


def is_drawn(film: AnalysedFilm, saliency: SaliencyMap) -> bool:
    """Whether what a network looked at is drawn: only where it found something.

    Never for "normal" or where no class was named, nor for a grade that may be none; and only where
    hiding it lowers the answer: of a class by `LEAST_CHANGE`, of a grade at all. What an opacity
    map explains is drawn as that map, once. Of what is observed always, as its words say: what it
    explains need not be a finding.
    """
    if saliency.mapped_by:
        return False
    if is_observed(film, saliency):
        return bool(saliency.heat.max() > 0)
    findings, network = film.findings, saliency.network
    first = network == film.saliency[0].network and saliency.target in FINDING_CLASSES
    evidence = (findings.evidence if first else None) or findings.checks.get(network, Evidence())
    change = evidence.change_when_hidden
    if saliency.target not in FINDING_CLASSES:
        return findings.chest.found_by_grade(saliency.target) and (change is None or change > 0)
    found = findings.detections.get(network, findings.finding)
    if found is None or not opacities_by_class(found):
        return False
    return change is None or change >= LEAST_CHANGE


def is_observed(film: AnalysedFilm, saliency: SaliencyMap) -> bool:
    """Whether a map is of a network that declares itself what it says."""
    return any(one.network == saliency.network for one in film.findings.observed)


def contours_of(film: AnalysedFilm, saliency: SaliencyMap) -> tuple[Polygon, ...]:
    """Return what stood out for what a network found, as lines on the film, largest area first.

    See `is_drawn` and `heat_drawn`. Where no lungs are known, what runs out of the area that the
    network saw is left out: its line would be that of the area. What is observed need not be in the
    lungs.
    """
    if not is_drawn(film, saliency):
        return ()
    # On the region alone, so that a line along its edge lies exactly there.
    region, (rows, columns) = saliency.region, _fine(saliency.region)
    whole = replace(saliency, region=Region(0, 0, rows, columns))
    if observed := is_observed(film, saliency):
        heat = heat_of(whole, rows, columns)
    else:
        heat = _kept(film, whole, region, rows, columns)
    if film.lungs is None or observed:
        heat = _within(heat)
    lines = (_on_film(line, region, heat.shape) for line in contours(heat, CONTOUR_LEVEL))
    return tuple(sorted(lines, key=_area, reverse=True))


def heat_drawn(film: AnalysedFilm, saliency: SaliencyMap) -> Heat | None:
    """Return the heat of every pixel of the film as far as it is drawn; None where it is not.

    Inside the lungs alone, without specks: areas at `CONTOUR_LEVEL`, and holes in them, that are
    less than a hundredth of the lungs. float32 in [0, 1], shape (Rows, Columns).
    """
    if not is_drawn(film, saliency):
        return None
    rows, columns = int(film.dataset.Rows), int(film.dataset.Columns)
    return _kept(film, saliency, Region(0, 0, rows, columns), rows, columns)


def _kept(film: AnalysedFilm, saliency: SaliencyMap, cell: Region, rows: int, columns: int) -> Heat:
    """Return the heat on a grid that covers ``cell`` of the film, as `heat_drawn` says."""
    heat = heat_of(saliency, rows, columns)
    area = heat.size / 2
    if film.lungs is not None:
        lungs = _lungs_on(film, cell, rows, columns)
        # The smaller of both: at one half its line is that of the heat, or of the lungs.
        heat, area = np.minimum(heat, lungs), float((lungs > CONTOUR_LEVEL).sum())
    return without_specks(heat, area)


def _within(heat: Heat) -> Heat:
    """Return the heat without the areas that touch the edge of the grid."""
    areas, _ = label(heat > CONTOUR_LEVEL)
    edge = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    return np.where(np.isin(areas, edge[edge > 0]), np.float32(0), heat)


def parts_of(film: AnalysedFilm) -> Mapping[str, Polygon]:
    """Return the graded parts: the lungs in each third of what the network saw, a side.

    Empty where none were graded.
    """
    airspace = film.findings.airspace
    graded = [heat.region for heat in film.saliency if heat.target == "airspace"]
    if airspace is None or not graded:
        return {}
    return {name: _part_of(film, _cell(graded[0], name, film)) for name in airspace.parts}


def _cell(seen: Region, zone: str, film: AnalysedFilm) -> Region:
    side, height = zone.split("_")
    third = ("upper", "middle", "lower").index(height)
    return _part(seen, side, (third / 3, (third + 1) / 3), film)


def right_of(seen: Region, film: AnalysedFilm) -> Region:
    """Return what lies on the film at the patient's right of the middle of a region."""
    stored, hung = _stored(film)
    whole = hung.hang_region(seen, stored)
    rows, _ = stored[::-1] if hung.transposed else stored
    return hung.store_region(Region(0, 0, rows, (whole.left + whole.right) / 2), stored)


def _stored(film: AnalysedFilm) -> tuple[tuple[int, int], Hanging]:
    """Return rows and columns of the stored film, and how it is hung."""
    return (int(film.dataset.Rows), int(film.dataset.Columns)), film.hanging


def _part(seen: Region, side: str, height: tuple[float, float], film: AnalysedFilm) -> Region:
    """Return one side of a region, from one part of its height to another, as the film is hung.

    As hung, the patient's right is at the left, and the head above.
    """
    stored, hung = _stored(film)
    whole = hung.hang_region(seen, stored)
    down, middle = whole.bottom - whole.top, (whole.left + whole.right) / 2
    left, right = (whole.left, middle) if side == "right" else (middle, whole.right)
    part = Region(whole.top + height[0] * down, left, whole.top + height[1] * down, right)
    return hung.store_region(part, stored)


def _lungs(film: AnalysedFilm, seen: Region) -> Mapping[str, Polygon]:
    if film.lungs is None or not film.lungs.mask.any():
        return {}
    found = {side: _lung_in(film, _part(seen, side, (0, 1), film)) for side in ("right", "left")}
    return {side: line for side, line in found.items() if line is not None}


def _part_of(film: AnalysedFilm, cell: Region) -> Polygon:
    line = _lung_in(film, cell)
    return _rectangle(cell) if line is None else line


def _lung_in(film: AnalysedFilm, cell: Region) -> Polygon | None:
    """Return the outline of the largest piece of lung in a part of the film, if there is any."""
    if film.lungs is None:
        return None
    grid = _lungs_on(film, cell, *_fine(cell))
    lines = [_on_film(line, cell, grid.shape) for line in contours(grid, CONTOUR_LEVEL)]
    return simplified(max(lines, key=_area)) if lines else None


def _lungs_on(film: AnalysedFilm, cell: Region, height: int, width: int) -> Heat:
    """Return how far each place of a grid that covers ``cell`` of the film is lung, in [0, 1]."""
    assert film.lungs is not None
    return on_grid(film.lungs.mask, _whole(film), cell, (height, width))


def _joined(one: Polygon, other: Polygon) -> Polygon:
    gaps = np.linalg.norm(one[:-1, None] - other[None, :-1], axis=-1)
    i, k = np.unravel_index(int(gaps.argmin()), gaps.shape)
    first, second = np.roll(one[:-1], -i, axis=0), np.roll(other[:-1], -k, axis=0)
    return np.concatenate([first, first[:1], second, second[:1], first[:1]])


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


def begun_at(line: Polygon, part: float) -> Polygon:
    """Return the same closed line, begun at the corner that lies ``part`` of its length along.

    A line that is not closed has one beginning.
    """
    if (line[0] != line[-1]).any():
        return line
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    first = int(np.searchsorted(along, part * along[-1])) % (len(line) - 1)
    corners = np.roll(line[:-1], -first, axis=0)
    return np.concatenate([corners, corners[:1]])


def _fine(region: Region) -> tuple[int, int]:
    height, width = region.bottom - region.top, region.right - region.left
    return min(max(round(height), 2), _FINEST), min(max(round(width), 2), _FINEST)


def _on_film(line: npt.NDArray[np.float32], region: Region, grid: tuple[int, ...]) -> Polygon:
    rows, columns = grid
    across = (region.right - region.left) / columns
    down = (region.bottom - region.top) / rows
    placed = line.astype(np.float64) * (across, down) + (region.left, region.top)
    return placed if (placed[0] == placed[-1]).all() else np.concatenate([placed, placed[:1]])


def _rectangle(region: Region) -> Polygon:
    left, top, right, bottom = region.left, region.top, region.right, region.bottom
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])


def _area(line: Polygon) -> float:
    return abs(_signed_area(line))


def _turn(line: Polygon) -> bool:
    """Return which way round a closed line runs."""
    return _signed_area(line) > 0


def _signed_area(line: Polygon) -> float:
    x, y = line[:, 0], line[:, 1]
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def _douglas_peucker(line: Polygon, tolerance: float) -> Polygon:
    # Each half by itself: a closed line has no end that is far from its beginning.
    middle = len(line) // 2
    halves = [shapely.LineString(line[: middle + 1]), shapely.LineString(line[middle:])]
    first, second = shapely.simplify(halves, tolerance, preserve_topology=False)
    return np.concatenate([first.coords, second.coords[1:]])
