"""How far an explanation can be trusted: hide what it shows, and ask again."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import fft, irfft2, next_fast_len, rfft, rfft2

from dicom_node.imaging.prepare import Float

_REACH = 4
"""How many standard deviations of a blur are looked at."""


def without_structure(grid: Float) -> Float:
    """Return the network's input with its mean grey and no structure, same shape.

    ``grid``: float32 in [0, 1], (rows, columns, channels). It is blurred by a sixteenth of its
    height. Channels that repeat the first one, as those of our films do, are blurred once.
    """
    sigma, channels = grid.shape[0] / 16, grid.shape[2]
    if (grid == grid[:, :, :1]).all():
        return np.repeat(_blurred(grid[:, :, 0], sigma)[:, :, None], channels, axis=2)
    return np.stack([_blurred(grid[:, :, k], sigma) for k in range(channels)], axis=2)


def _blurred(plane: Float, sigma: float) -> Float:
    """Return a plane blurred by a Gaussian; beyond its edges it goes on as at the edges.

    By the Fourier transform: for a blur that is wide a tenth of the work of a sum of neighbours.
    """
    reach = int(_REACH * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(plane, reach, mode="edge")
    rows, columns = (next_fast_len(length, real=True) for length in padded.shape)
    spectrum = rfft2(padded, (rows, columns))
    spectrum *= fft(weights, rows)[:, None]
    spectrum *= rfft(weights, columns)
    whole = irfft2(spectrum, (rows, columns), overwrite_x=True)
    down, across = (slice(2 * reach, 2 * reach + length) for length in plane.shape)
    return np.asarray(whole[down, across], np.float32)


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
    changed = blurred - grid
    changed *= hidden
    changed += grid
    return np.asarray(changed, np.float32)
