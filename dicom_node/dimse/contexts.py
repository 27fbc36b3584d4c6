"""Which presentation contexts we accept as SCP and propose as SCU (PS3.4 annex B, PS3.8 9.3.2).

No more than is used: each SOP class times each Transfer Syntax costs time in every negotiation.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.imaging.sop_classes import ACCEPTED_SOP_CLASSES
from dicom_node.imaging.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES

RESULT_SOP_CLASSES: tuple[UID, ...] = (
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    EnhancedSRStorage,
    BasicTextSRStorage,
    SecondaryCaptureImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SegmentationStorage,
    EncapsulatedPDFStorage,
    KeyObjectSelectionDocumentStorage,
)
"""Of the objects that are sent. An association proposes those of what is in the outbox."""

COMPRESSIBLE_SOP_CLASSES: tuple[UID, ...] = (SecondaryCaptureImageStorage,)
"""Of results that may leave compressed: pictures of 8 bits, RGB."""

PROPOSED_TRANSFER_SYNTAXES: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""For results, in order of preference."""


def accepted_contexts(
    sop_class_uids: Iterable[str] = ACCEPTED_SOP_CLASSES,
) -> list[PresentationContext]:
    """Return the presentation contexts that the acceptor supports: Verification, and Storage."""
    storage = [build_context(uid, list(SUPPORTED_TRANSFER_SYNTAXES)) for uid in sop_class_uids]
    return [*storage, build_context(Verification, list(PROPOSED_TRANSFER_SYNTAXES))]


def proposed_contexts(
    sop_class_uids: list[str], compression_uid: str | None = None
) -> list[PresentationContext]:
    """Return one presentation context a SOP class and Transfer Syntax.

    Separate contexts let us see which syntaxes a receiver takes, and choose. ``compression_uid``:
    the Transfer Syntax that is proposed for pictures too.
    """
    return [
        build_context(uid, syntax)
        for uid in dict.fromkeys(sop_class_uids)
        for syntax in (
            *([compression_uid] if compression_uid and uid in COMPRESSIBLE_SOP_CLASSES else []),
            *PROPOSED_TRANSFER_SYNTAXES,
        )
    ]
