"""The input gate: is this a frontal chest radiograph at all, told from its pixels.

The header was believed when the film was admitted; headers are wrong every day. The gate looks
at what the lung segmentation found: on a frontal chest radiograph two lungs with sharp outlines;
on a hand, a hip, an inverted film or a photograph, patches it is unsure of. One-class: the limits
come from the chest radiographs of the split ``train`` alone (docs/input-gate.md), no film of
anything else was needed to set them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import label

from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float

LEAST_SPREAD = 0.02
LEAST_PART = 0.10
LEAST_SECOND = 0.35
MOST_DOUBT = 0.6
MOST_JUMPS = 0.015
_UNSURE = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Impression:
    """What the gate looks at.

    ``spread``: standard deviation of the film's grey levels, of [0, 1]. ``part``: of the film
    that is lung. ``second``: area of the smaller lung over that of the larger one; 0 if there is
    only one. ``doubt``: places that are neither clearly lung nor clearly not, for each place that
    is lung. ``jumps``: of the film's neighbours, how many differ by more than half of all grey
    levels, at about 512 pixels a side.
    """

    spread: float
    part: float
    second: float
    doubt: float
    jumps: float


def impression(film: Float, lungs: Lungs) -> Impression:
    """Return what the gate looks at; ``film`` float32 in [0, 1], (rows, columns)."""
    small = np.asarray(Image.fromarray(film).resize((256, 256), Image.Resampling.BOX))
    areas, count = label(lungs.mask)
    sizes = sorted(np.bincount(areas.ravel(), minlength=count + 1)[1:], reverse=True)
    low, high = _UNSURE
    unsure = int(((lungs.probability > low) & (lungs.probability < high)).sum())
    return Impression(
        spread=float(small.std()),
        part=lungs.part,
        second=float(sizes[1] / sizes[0]) if count > 1 else 0.0,
        doubt=unsure / max(1, int(lungs.mask.sum())),
        jumps=_jumps(film),
    )


def _jumps(film: Float) -> float:
    step = max(1, min(film.shape) // 512)
    looked = film[::step, ::step]
    return max(float((np.abs(np.diff(looked, axis=axis)) > 0.5).mean()) for axis in (0, 1))


def refusal(film: Float, lungs: Lungs) -> str | None:
    """Return why the film is not analysed, as a sentence for people; None if it is.

    Two lungs that have grown together into one area count as one only if their outline is in
    doubt too: masks that touch in the middle are no fault of the film.
    """
    seen = impression(film, lungs)
    if seen.spread < LEAST_SPREAD:
        return "The film is uniform: there is nothing to analyse."
    if seen.jumps > MOST_JUMPS:
        return (
            "Not analysable: neighbouring pixels jump across all grey levels, as in noise or where "
            "bits of the film are missing."
        )
    if seen.part < LEAST_PART:
        return "Not a frontal chest radiograph: no lungs were found in the pixels."
    if seen.doubt > MOST_DOUBT:
        return (
            "Not analysable: no clear outline of two lungs was found. The film may be of another "
            "body part, inverted, or badly exposed."
        )
    if 0 < seen.second < LEAST_SECOND:
        return (
            "Not analysable: one lung is hardly seen. The film may be cropped, rotated or of "
            "another body part."
        )
    return None
