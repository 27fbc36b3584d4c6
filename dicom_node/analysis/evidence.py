"""How far an explanation can be trusted: hide what it shows, and ask again."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from dicom_node.imaging.prepare import Float


def hide_salient(grid: Float, heat: Float, level: float = 0.5) -> Float:
    """Return the network's input with the salient area blurred away, same shape.

    ``grid``: float32 in [0, 1], (rows, columns, channels); ``heat``: float32 in [0, 1], (rows',
    columns'). Where the heat is above ``level`` the picture is replaced by itself, blurred by a
    sixteenth of its height: what is left there is its mean grey and no structure. The border
    fades over the linear interpolation of the heat, so that hiding adds no edges.
    """
    rows, columns = grid.shape[:2]
    spread = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    )
    hidden = np.clip((spread - level) / 0.1 + 0.5, 0.0, 1.0)[:, :, None].astype(np.float32)
    blurred = gaussian_filter(grid, sigma=(rows / 16, rows / 16, 0), mode="nearest")
    return np.asarray(grid + hidden * (blurred - grid), dtype=np.float32)
