"""The SOP classes that may be stored on the node (PS3.4 table B.5-1). Values only."""

from __future__ import annotations

from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)

ACCEPTED_SOP_CLASSES: tuple[UID, ...] = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)
"""Besides them only what bundles in use eat; everything else: "abstract syntax not supported", or
0x0122 where there is no context."""
