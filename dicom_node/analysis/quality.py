"""What may be wrong with a film that is analysed all the same (PS3.16 CID 6135).

Three simple rules on the shown grey levels and the found lungs. They are not validated: they tell
a reader why an answer may be poor, and decide nothing. How often they speak on the films of the
test split stands in docs/networks.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float

CUT_OFF = 0.25
"""Part of a side of the lungs' box along which they run into the film's edge."""

BURNT = 0.5
"""Part of the lungs that is as dark, or as bright, as the film can show."""

_DARK, _BRIGHT = 0.005, 0.995


def quality(film: Float, lungs: Lungs) -> tuple[str, ...]:
    """Return which of `findings.QUALITY` may be wrong with the film.

    ``film``: float32 in [0, 1], (rows, columns), bright = dense. ``positioning``: a lung runs into
    the film's edge. ``over_exposed``: half of the lungs is black; ``under_exposed``: white.
    """
    return tuple(_faults(film, lungs))


def _faults(film: Float, lungs: Lungs) -> Iterator[str]:
    mask = lungs.mask
    if not mask.any():
        return
    down, across = mask.any(axis=1).sum(), mask.any(axis=0).sum()
    sides = ((mask[0], across), (mask[-1], across), (mask[:, 0], down), (mask[:, -1], down))
    if any(edge.sum() > CUT_OFF * length for edge, length in sides):
        yield "positioning"
    rows = np.minimum((np.arange(mask.shape[0]) + 0.5) * film.shape[0] / mask.shape[0],
                      film.shape[0] - 1).astype(int)  # fmt: skip
    columns = np.minimum((np.arange(mask.shape[1]) + 0.5) * film.shape[1] / mask.shape[1],
                         film.shape[1] - 1).astype(int)  # fmt: skip
    inside = film[np.ix_(rows, columns)][mask]
    if (inside >= _BRIGHT).mean() > BURNT:
        yield "under_exposed"
    if (inside <= _DARK).mean() > BURNT:
        yield "over_exposed"
