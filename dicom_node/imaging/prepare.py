"""A film to a network's input grid: crop, resize, equalise, hide, repeat the channel.

Training and serving call the same `prepare`, so a network never meets a film that was made ready
in another way than those it learned from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.findings import Region
from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.resample import triangles

Float = npt.NDArray[np.float32]


def prepare(
    film: Float, contract: InputContract | None = None, lungs: Lungs | None = None
) -> tuple[Float, Region]:
    """Return the network's input and the rectangle of the film that it covers.

    ``film``: float32 in [0, 1], shape (rows, columns), bright = dense. The input has the shape
    (contract.rows, contract.columns, contract.channels), float32 in [0, 1]. The film is cut to
    whole rows and columns; what remains is stretched to the grid without keeping the
    aspect ratio, by a triangle filter as wide as the reduction, so that no detail is aliased.
    Grid cell (i, j) therefore is the rectangle ``region.top + i * (region.bottom − region.top) /
    contract.rows …`` of the film: the inverse is exact and affine. Lungs that were looked for and
    not found are all of the film. Raises ValueError on an array that is not two-dimensional, and
    where the contract needs ``lungs`` and there are none.
    """
    contract = contract or InputContract()
    if film.ndim != 2:
        raise ValueError(f"a film has the shape (rows, columns). Received: {film.shape}")
    region = _region_of(film, contract, lungs)
    shape = (contract.rows, contract.columns)
    # Of levels that are counted the last bits matter: a flat part of a film has one level.
    on_grid = resized if contract.intensity == "equalised" else _quickly_resized
    values = on_grid(film, region, shape)
    if contract.outside == "hidden" and lungs is not None and lungs.found:
        inside = lungs.mask_on(region, shape)
        if contract.intensity == "equalised":
            values = equalised(values, inside)
        values = np.where(inside, values, np.float32(0))
    elif contract.intensity == "equalised":
        values = equalised(values)
    return np.repeat(values[:, :, None], contract.channels, axis=2), region


def _region_of(film: Float, contract: InputContract, lungs: Lungs | None) -> Region:
    """Return the whole-pixel rectangle that the contract asks for."""
    rows, columns = film.shape
    if contract.needs_lungs and lungs is None:
        raise ValueError("this input contract needs the lungs of the film. Received: none")
    if contract.region == "lungs" and lungs is not None:
        return lungs.square(contract.margin)
    top = min(round(rows * contract.crop_top), rows - 1)
    return Region(float(top), 0.0, float(rows), float(columns))


def resized(film: Float, region: Region, shape: tuple[int, int]) -> Float:
    """Return that whole-pixel part of the film on a grid of ``shape``, float32 in [0, 1]."""
    grid = Image.fromarray(_part(film, region)).resize(
        (shape[1], shape[0]), Image.Resampling.BILINEAR
    )
    return np.clip(np.asarray(grid, dtype=np.float32), 0.0, 1.0)


def _quickly_resized(film: Float, region: Region, shape: tuple[int, int]) -> Float:
    grid = triangles(_part(film, region), shape)
    return np.clip(grid, 0.0, 1.0, out=grid)


def _part(film: Float, region: Region) -> Float:
    top, left, bottom, right = map(round, (region.top, region.left, region.bottom, region.right))
    return np.ascontiguousarray(film[top:bottom, left:right], dtype=np.float32)


def equalised(film: Float, inside: npt.NDArray[np.bool_] | None = None) -> Float:
    """Return the film with a flat histogram (256 levels), float32 in [0, 1].

    Only the values ``inside`` count for the histogram; without one, all do.
    """
    levels = np.minimum((film * 255).astype(np.uint8), 255)
    counted = levels if inside is None or not inside.any() else levels[inside]
    counts = np.cumsum(np.bincount(counted.ravel(), minlength=256))
    table = (counts / counts[-1]).astype(np.float32)
    return np.asarray(table[levels], dtype=np.float32)
