"""Where the lungs are on a film, and whether what was found can be lungs.

The mask comes from the network `lung_unet`; everything here is geometry on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, label

from dicom_node.findings import Region

Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """The lungs of one film, on a grid that covers all of it.

    ``probability``: float32 in [0, 1], (grid rows, grid columns). ``mask``: the lungs, without
    specks and holes, the same shape. ``rows`` and ``columns``: of the film, in pixels.
    """

    probability: Float
    mask: Mask
    rows: int
    columns: int

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return bool(self.mask.any())

    @property
    def part(self) -> float:
        """The part of the film that is lung, in [0, 1]."""
        return float(self.mask.mean())

    @property
    def box(self) -> Region:
        """The rectangle around the lungs, by row and column sums; the film if there are none."""
        if not self.mask.any():
            return Region(0.0, 0.0, float(self.rows), float(self.columns))
        down, across = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        y, x = self.rows / self.mask.shape[0], self.columns / self.mask.shape[1]
        return Region(
            float(down[0] * y), float(across[0] * x),
            float((down[-1] + 1) * y), float((across[-1] + 1) * x),
        )  # fmt: skip

    def square(self, margin: float) -> Region:
        """Return the whole-pixel square around the lungs, moved to lie within the film.

        ``margin``: a part of the longer side of `box`, added on each side. Where the film is
        smaller than the square in one direction, all of the film is taken in that direction.
        """
        box = self.box
        side = max(box.bottom - box.top, box.right - box.left) * (1 + 2 * margin)
        top, bottom = _stretch(box.top, box.bottom, side, self.rows)
        left, right = _stretch(box.left, box.right, side, self.columns)
        return Region(top, left, bottom, right)

    def mask_on(self, region: Region, shape: tuple[int, int], widen: int = 2) -> Mask:
        """Return the mask on a grid of ``shape`` that covers ``region`` of the film.

        Dilated by ``widen`` cells of that grid each way; 2 is the paper's 5 × 5.
        """
        y, x = self.mask.shape[0] / self.rows, self.mask.shape[1] / self.columns
        box = (region.left * x, region.top * y, region.right * x, region.bottom * y)
        picture = Image.fromarray(self.mask.astype(np.float32))
        grid = picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box)
        mask = np.asarray(grid) > 0.5
        if widen:
            mask = binary_dilation(mask, np.ones((2 * widen + 1, 2 * widen + 1), dtype=bool))
        return np.asarray(mask, dtype=bool)


def _stretch(low: float, high: float, side: float, limit: int) -> tuple[float, float]:
    """Return whole-pixel ends of a stretch of length ``side`` about [low, high], in [0, limit]."""
    length = min(float(limit), max(1.0, float(round(side))))
    begin = round((low + high - length) / 2)
    begin = min(max(0, begin), limit - round(length))
    return float(begin), float(begin + round(length))


def lungs_from(probability: Float, rows: int, columns: int) -> Lungs:
    """Return the lungs of a film of that size: cells above one half, holes filled.

    At most the two largest areas: one that is less than a twentieth of the largest is no lung.
    """
    areas, count = label(probability > 0.5)
    sizes = np.bincount(areas.ravel(), minlength=count + 1)[1:]
    mask = np.zeros(probability.shape, dtype=bool)
    for index in np.argsort(sizes)[::-1][:2]:
        if sizes[index] >= 0.05 * sizes.max():
            mask |= areas == index + 1
    return Lungs(probability.astype(np.float32), _without_holes(mask), rows, columns)


def _without_holes(mask: Mask) -> Mask:
    """Return the mask with all that it encloses: what else is not in it reaches an edge."""
    areas, count = label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for edge in (areas[0], areas[-1], areas[:, 0], areas[:, -1]):
        outside[edge] = True
    outside[0] = False
    return np.asarray(~outside[areas], dtype=bool)
