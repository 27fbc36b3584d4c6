"""A film to a network's input grid: crop the top, resize, repeat the channel.

Training and serving call the same `prepare`, so a network never meets a film that was made ready
in another way than those it learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_node.findings import Region

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InputContract:
    """What a network expects to see.

    ``rows`` × ``columns`` × ``channels`` values; ``crop_top`` is the part of the height, in
    [0, 1), that is cut off above (burned-in text, neck); ``intensity`` is ``"unit"``: grey values
    in [0, 1], bright = dense.
    """

    rows: int = 480
    columns: int = 480
    channels: int = 3
    crop_top: float = 0.08
    intensity: Literal["unit"] = "unit"


def prepare(film: Float, contract: InputContract | None = None) -> tuple[Float, Region]:
    """Return the network's input and the rectangle of the film that it covers.

    ``film``: float32 in [0, 1], shape (rows, columns), bright = dense. The input has the shape
    (contract.rows, contract.columns, contract.channels), float32 in [0, 1]. The height is cut by
    ``crop_top``, rounded to whole rows; what remains is stretched to the grid without keeping the
    aspect ratio, by a triangle filter as wide as the reduction, so that no detail is aliased.
    Grid cell (i, j) therefore is the rectangle ``region.top + i * (region.bottom − region.top) /
    contract.rows …`` of the film: the inverse is exact and affine. Raises ValueError on an array
    that is not two-dimensional.
    """
    contract = contract or InputContract()
    if film.ndim != 2:
        raise ValueError(f"a film has the shape (rows, columns). Received: {film.shape}")
    rows, columns = film.shape
    top = min(round(rows * contract.crop_top), rows - 1)
    region = Region(float(top), 0.0, float(rows), float(columns))
    picture = Image.fromarray(np.ascontiguousarray(film[top:], dtype=np.float32))
    grid = picture.resize((contract.columns, contract.rows), Image.Resampling.BILINEAR)
    values = np.clip(np.asarray(grid, dtype=np.float32), 0.0, 1.0)
    return np.repeat(values[:, :, None], contract.channels, axis=2), region
