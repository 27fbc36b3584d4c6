"""A film to what a declared network wants to see of it, and its answers back to the film.

The grid that a network sees is an affine picture of a rectangle of the film: places that it names
in pixels of its input lie on the film where `Seen.place` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from dicom_node.findings import Region
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, equalised
from dicom_node.imaging.resample import triangles, triangles_on_black


class PixelContract(Protocol):
    """What a network wants to see, see `dicom_node.bundles.declared.WantedPixels`."""

    rows: int
    columns: int
    channels: int
    region: Literal["film", "lungs"]
    crop_top: float
    margin: float
    fit: Literal["stretch", "pad", "crop"]
    equalised: bool
    values: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network sees of a film.

    ``grid``: float32, (rows, columns, channels), as the contract wants its values. ``region``: the
    rectangle of the film, in pixels, that the whole grid covers: with ``pad`` it reaches beyond the
    film. ``grey``: float32 in [0, 1], (rows, columns), bright = dense: the grid before its values
    were made what the network wants.
    """

    grid: Float
    region: Region
    grey: Float

    @property
    def across(self) -> float:
        """Film pixels a column of the grid."""
        return (self.region.right - self.region.left) / int(self.grid.shape[1])

    @property
    def down(self) -> float:
        """Film pixels a row of the grid."""
        return (self.region.bottom - self.region.top) / int(self.grid.shape[0])

    def place(self, column: float, row: float) -> tuple[float, float]:
        """Return where a place of the grid lies on the film: column and row, from the corner."""
        return self.region.left + column * self.across, self.region.top + row * self.down


def seen(film: Float, wanted: PixelContract, lungs: Lungs | None = None) -> Seen:
    """Return what a network sees of a film.

    ``film``: float32 in [0, 1], (rows, columns), bright = dense, upright. Lungs that were looked
    for and not found are all of the film; so are lungs that nobody looked for.
    """
    part = _part(film.shape, wanted, lungs)
    region, inner = _fitted(part, wanted)
    grey = _on_grid(film, region, inner, (wanted.rows, wanted.columns))
    if wanted.equalised:
        grey = equalised(grey)
    return Seen(with_values(grey, wanted), region, grey)


def with_values(grey: Float, wanted: PixelContract) -> Float:
    """Return grey levels in [0, 1] as the network wants them, float32, (rows, columns, channels).

    ``values``: what 0 and 1 become; then ``mean`` is taken off and ``std`` divides, by channel.
    """
    low, high = wanted.values
    scaled = np.float32(low) + grey * np.float32(high - low)
    channels = np.repeat(scaled[:, :, None], wanted.channels, axis=2)
    mean, std = (np.asarray(each, np.float32) for each in (wanted.mean, wanted.std))
    return np.asarray((channels - mean) / std, np.float32)


def _part(shape: tuple[int, ...], wanted: PixelContract, lungs: Lungs | None) -> Region:
    """Return the whole-pixel part of the film that the contract asks for."""
    rows, columns = shape[:2]
    if wanted.region == "lungs" and lungs is not None and lungs.found:
        return lungs.square(wanted.margin)
    top = min(round(rows * wanted.crop_top), rows - 1)
    return Region(float(top), 0.0, float(rows), float(columns))


def _fitted(part: Region, wanted: PixelContract) -> tuple[Region, Region]:
    """Return the rectangle that the whole grid covers, and what of it is the part's.

    Stretched, both are the part. With its aspect ratio kept, ``pad`` covers more than the part,
    ``crop`` its middle; edges are whole pixels of the film.
    """
    height, width = part.bottom - part.top, part.right - part.left
    if wanted.fit == "stretch":
        return part, part
    ratios = height / wanted.rows, width / wanted.columns
    pixels = max(ratios) if wanted.fit == "pad" else min(ratios)
    tall, wide = max(1, round(pixels * wanted.rows)), max(1, round(pixels * wanted.columns))
    top = part.top + (height - tall) // 2
    left = part.left + (width - wide) // 2
    whole = Region(top, left, top + tall, left + wide)
    inner = Region(
        max(part.top, whole.top), max(part.left, whole.left),
        min(part.bottom, whole.bottom), min(part.right, whole.right),
    )  # fmt: skip
    return whole, inner


def _on_grid(film: Float, region: Region, inner: Region, shape: tuple[int, int]) -> Float:
    """Return a rectangle that may reach beyond ``inner`` on a grid of ``shape``; black there."""
    top, left, bottom, right = map(round, (inner.top, inner.left, inner.bottom, inner.right))
    part = np.ascontiguousarray(film[top:bottom, left:right], np.float32)
    if inner == region:
        grid = triangles(part, shape)
    else:
        black = round(region.bottom - region.top), round(region.right - region.left)
        corner = round(inner.top - region.top), round(inner.left - region.left)
        grid = triangles_on_black(part, shape, black, corner)
    return np.clip(grid, 0.0, 1.0, out=grid)
