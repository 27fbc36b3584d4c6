"""Is this a frontal chest radiograph, told from the outlines of its lungs: for want of a gate.

Where no gate network runs (`dicom_node.analysis.gate`), what the lung segmentation found has to
do: on a frontal chest radiograph two lungs with sharp outlines; on a hand, a hip, an inverted film
or a photograph, patches it is unsure of. One-class: the limits come from the chest radiographs of
the split ``train`` alone (docs/input-gate.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from dicom_node.imaging.lungs import Lungs

LEAST_PART = 0.10
LEAST_SECOND = 0.35
MOST_DOUBT = 0.6
_UNSURE = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Outlines:
    """What the rule looks at.

    ``part``: of the film that is lung. ``second``: area of the smaller lung over that of the
    larger one; 0 if there is only one. ``doubt``: places that are neither clearly lung nor clearly
    not, for each place that is lung.
    """

    part: float
    second: float
    doubt: float


def outlines(lungs: Lungs) -> Outlines:
    """Return what the rule looks at."""
    areas, count = label(lungs.mask)
    sizes = sorted(np.bincount(areas.ravel(), minlength=count + 1)[1:], reverse=True)
    low, high = _UNSURE
    unsure = int(((lungs.probability > low) & (lungs.probability < high)).sum())
    return Outlines(
        part=lungs.part,
        second=float(sizes[1] / sizes[0]) if count > 1 else 0.0,
        doubt=unsure / max(1, int(lungs.mask.sum())),
    )


def without_outlines(lungs: Lungs) -> str | None:
    """Return why the film is not analysed, as a sentence for people; None if it is.

    Two lungs that have grown together into one area count as one only if their outline is in
    doubt too: masks that touch in the middle are no fault of the film.
    """
    seen = outlines(lungs)
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
