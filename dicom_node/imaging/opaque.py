"""What an opacity map says of the lungs: the area that counts as opaque, and how much that is.

The same area is counted, drawn and written into results, so that number and picture are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import label, maximum_filter

from dicom_node.chest import MappedOpacity
from dicom_node.findings import LungMask, OpacityMap, Region
from dicom_node.imaging.geometry import around, on_grid
from dicom_node.imaging.prepare import Float

LEVEL = 0.5
"""Where the line around an area runs, see `drawn`."""

SPECK = 0.01
"""The part of the lungs below which an area is a speck."""

GRID = (256, 256)
"""The grid on which areas are counted and lines are drawn: about that of the lungs' mask."""

_FULL = 0.5
"""The part of a cell from which on it is lung as a whole."""

Mask = npt.NDArray[np.bool_]


def inside_lungs(probability: Float, region: Region, lungs: LungMask | None, film: Region) -> Float:
    """Return a map of ``region`` with nothing outside the lungs, float32 in [0, 1], same shape.

    ``film``: all of the film, which the lungs' mask covers. A cell that is half lung keeps its
    value, and so do its eight neighbours, so that the map does not fade towards the lungs' edge; of
    cells with less lung a part is kept, beyond their neighbours nothing. What `drawn` returns ends
    with the lungs themselves. Without lungs the map stays as it is.
    """
    if lungs is None or not lungs.mask.any():
        return probability
    y = lungs.mask.shape[0] / (film.bottom - film.top)
    x = lungs.mask.shape[1] / (film.right - film.left)
    box = (region.left * x, region.top * y, region.right * x, region.bottom * y)
    picture = Image.fromarray(lungs.mask.astype(np.float32))
    shape = (probability.shape[1], probability.shape[0])
    lung = np.asarray(picture.resize(shape, Image.Resampling.BOX, box=box), np.float32)
    weight = maximum_filter(np.clip(lung / _FULL, 0.0, 1.0), size=3)
    return np.asarray(probability * weight, np.float32)


def drawn(
    opacity: OpacityMap, lungs: LungMask | None, film: Region, cell: Region, shape: tuple[int, int]
) -> Float:
    """Return how opaque each place of a grid of ``shape`` over ``cell`` is, as far as it is drawn.

    float32 in [0, 1]: `LEVEL` at the map's threshold, below it what is not opaque, above it 0.5 to
    1 as the probability goes from the threshold to 1. Inside the lungs alone, without specks: areas
    and holes in them that are less than a hundredth of the lungs. ``film`` as of `inside_lungs`.
    """
    heat = _by_threshold(on_grid(opacity.probability, opacity.region, cell, shape), opacity)
    area = heat.size / 2
    if lungs is not None and lungs.mask.any():
        lung = on_grid(lungs.mask, film, cell, shape)
        # The smaller of both: at the level its line is that of the map, or of the lungs.
        heat, area = np.minimum(heat, lung), float((lung > LEVEL).sum())
    return without_specks(heat, area)


def without_specks(heat: Float, area: float) -> Float:
    """Return the heat without areas above `LEVEL`, and holes, below a hundredth of ``area``."""
    hot = heat > LEVEL
    if not hot.any():
        # All of it is one hole, and a large one.
        return np.asarray(heat, np.float32)
    least, box = SPECK * area, around(hot)
    specks = _smaller(hot[box], least)
    if specks is not None:
        heat[box][specks] = 0
    # Beyond what is hot all is one with the holes at its edge: too large for a speck, or looked at.
    rows, columns = (
        _edges(box[axis], heat.shape[axis], hot[box].shape[1 - axis], least) for axis in (0, 1)
    )
    part = heat[rows, columns]
    holes = _smaller(part <= LEVEL, least, _open_edges(heat.shape, rows, columns))
    if holes is not None:
        part[holes] = np.maximum(part[holes], np.nextafter(np.float32(LEVEL), np.float32(1)))
    return np.asarray(heat, np.float32)


def _edges(found: slice, places: int, across: int, least: float) -> slice:
    """Return of one axis the places to look at for holes.

    ``found``: what is hot, ``across`` places wide, of ``places`` on the axis. Up to the grid's edge
    where what is cold beyond might be a speck.
    """
    begin = found.start if found.start * across >= least else 0
    end = found.stop if (places - found.stop) * across >= least else places
    return slice(begin, end)


def _open_edges(shape: tuple[int, ...], rows: slice, columns: slice) -> Iterator[Any]:
    """Yield the edges of a part of a grid beyond which the grid goes on, as indices of the part."""
    if rows.start > 0:
        yield 0
    if rows.stop < shape[0]:
        yield -1
    if columns.start > 0:
        yield slice(None), 0
    if columns.stop < shape[1]:
        yield slice(None), -1


def mapped(
    opacity: OpacityMap, lungs: LungMask | None, film: Region, area: Float | None = None
) -> MappedOpacity:
    """Return how much of the lungs of a film, as it is hung, is mapped opaque.

    The middle of what the network saw divides the lungs, the patient's right at the left.
    ``area``: what `drawn` returns on the `GRID` over the map's region, if it is known already.
    """
    if lungs is None or not lungs.mask.any():
        return MappedOpacity(opacity.threshold)
    lung = on_grid(lungs.mask, film, opacity.region, GRID) > LEVEL
    opaque = (drawn(opacity, lungs, film, opacity.region, GRID) if area is None else area) > LEVEL
    middle = GRID[1] // 2
    parts = [_part(opaque[:, s], lung[:, s]) for s in (slice(0, middle), slice(middle, None))]
    return MappedOpacity(opacity.threshold, _part(opaque, lung), *parts)


def _part(opaque: Mask, lung: Mask) -> float | None:
    return float((opaque & lung).sum() / lung.sum()) if lung.any() else None


def _by_threshold(probability: Float, opacity: OpacityMap) -> Float:
    least = opacity.threshold
    below = probability * (LEVEL / least)
    above = LEVEL + (probability - least) * ((1 - LEVEL) / (1 - least))
    # What reaches the threshold is opaque, also where it lies exactly there.
    above = np.maximum(above, np.nextafter(np.float32(LEVEL), np.float32(1)))
    return np.asarray(np.where(probability >= least, above, np.minimum(below, LEVEL)), np.float32)


def _smaller(places: Mask, least: float, open_edges: Iterable[Any] = ()) -> Mask | None:
    """Return of some places those in pieces of fewer than ``least``, if there are any.

    What touches one of ``open_edges`` goes on beyond it, and is no small piece.
    """
    if not places.any():
        return None
    pieces, count = label(places, output=np.intp)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    large = pieces.size + int(least) + 1
    sizes[0] = large
    for edge in open_edges:
        sizes[pieces[edge]] = large
    small = sizes < least
    return np.asarray(small[pieces]) if small.any() else None
