"""How far an explanation can be trusted: hide what it shows, and ask again."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from dicom_node.imaging.prepare import Float


def without_structure(grid: Float) -> Float:
    """Return the network's input with its mean grey and no structure, same shape.

    ``grid``: float32 in [0, 1], (rows, columns, channels). It is blurred by a sixteenth of its
    height. Channels that repeat the first one, as those of our films do, are blurred once.
    """
    sigma = grid.shape[0] / 16
    if (grid == grid[:, :, :1]).all():
        first = gaussian_filter(grid[:, :, 0], sigma=sigma, mode="nearest")
        return np.repeat(first[:, :, None], grid.shape[2], axis=2)
    return np.asarray(gaussian_filter(grid, sigma=(sigma, sigma, 0), mode="nearest"), np.float32)


def hide_salient(grid: Float, blurred: Float, heat: Float, level: float = 0.5) -> Float:
    """Return the network's input with the salient area blurred away, same shape.

    ``grid``: float32 in [0, 1], (rows, columns, channels); ``blurred``: its `without_structure`,
    made once for all that is hidden on a film; ``heat``: float32 in [0, 1], (rows', columns').
    Where the heat is above ``level`` the picture is replaced by the blurred one. The border fades
    over the linear interpolation of the heat, so that hiding adds no edges.
    """
    rows, columns = grid.shape[:2]
    spread = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR)
    )
    hidden = np.clip((spread - level) / 0.1 + 0.5, 0.0, 1.0)[:, :, None].astype(np.float32)
    return np.asarray(grid + hidden * (blurred - grid), dtype=np.float32)
