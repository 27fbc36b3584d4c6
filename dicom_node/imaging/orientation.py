"""Films that are stored mirrored: Patient Orientation R\\F instead of L\\F (PS3.3 C.7.6.1.1.1).

Networks have learned from films as they are hung, the patient's left at the right. A mirrored film
is turned for them, and where they looked is turned back, so that everything in a result lies on
the stored matrix and every side is the patient's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dicom_node.findings import Explanation, Region, SaliencyMap
from dicom_node.imaging.header import FilmHeader
from dicom_node.imaging.prepare import Float


def is_mirrored(header: FilmHeader) -> bool:
    """Whether columns run to the patient's right. A film that does not say is as it is hung."""
    return header.patient_orientation[:1] != () and header.patient_orientation[0].startswith("R")


def as_hung(film: Float, header: FilmHeader) -> Float:
    """Return the film with the patient's left at the right, (rows, columns) as before."""
    return np.ascontiguousarray(film[:, ::-1]) if is_mirrored(header) else film


def as_stored(explanation: Explanation, header: FilmHeader, columns: int) -> Explanation:
    """Return what was found on the film of `as_hung`, on the film as it is stored."""
    if not is_mirrored(header):
        return explanation
    lungs = explanation.lungs
    return Explanation(
        tuple(_mirrored(one, columns) for one in explanation.maps),
        replace(lungs, mask=np.ascontiguousarray(lungs.mask[:, ::-1])) if lungs else None,
    )


def _mirrored(saliency: SaliencyMap, columns: int) -> SaliencyMap:
    seen = saliency.region
    region = Region(seen.top, columns - seen.right, seen.bottom, columns - seen.left)
    return replace(saliency, heat=np.ascontiguousarray(saliency.heat[:, ::-1]), region=region)
