"""Where a network looked: Grad-CAM at its last convolution.

Selvaraju et al., "Grad-CAM", ICCV 2017::

    A = features (rows', columns', channels)      y = what is explained: the logit of the class
    w_k = mean over places of dy/dA_k                 with the highest, or a score
    heat = relu(Σ_k w_k A_k) / its maximum

`dicom_node.brains.keras` computes it, for all networks of a trunk in one pass.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dicom_node.findings import Evidence, SaliencyMap
from dicom_node.imaging.lungs import Lungs

_GRID = (112, 112)


def evidence_in_lungs(
    saliency: SaliencyMap, lungs: Lungs | None, change_when_hidden: float | None = None
) -> Evidence:
    """Return how the heat lies to the lungs: its part inside, what chance would give, the peak.

    Without lungs, or without any heat, only ``change_when_hidden`` is known.
    """
    picture = Image.fromarray(saliency.heat.astype(np.float32))
    heat = np.asarray(picture.resize((_GRID[1], _GRID[0]), Image.Resampling.BILINEAR))
    total = float(heat.sum())
    if lungs is None or not lungs.found or total <= 0:
        return Evidence(change_when_hidden=change_when_hidden)
    inside = lungs.mask_on(saliency.region, _GRID, widen=0)
    return Evidence(
        saliency_in_lungs=float(heat[inside].sum()) / total,
        change_when_hidden=change_when_hidden,
        chance=float(inside.mean()),
        peak_in_lungs=bool(inside.ravel()[int(heat.argmax())]),
    )
