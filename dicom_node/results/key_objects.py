"""Key Object Selection (PS3.3 A.35.4, TID 2010): which films matter, and which results do not.

A rejection note takes back results of ours by the same object (IHE RAD, Imaging Object Change
Management).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage

from dicom_node import __version__
from dicom_node.results.films import AnalysedFilm, Context
from dicom_node.results.modules import (
    MANUFACTURER,
    MODEL_NAME,
    copy_identity,
    evidence_of,
    requests_of,
    set_equipment,
    set_times,
)
from dicom_node.results.observed_words import has_observed_findings
from dicom_node.results.wording import conclusion_on, view
from dicom_node.uids import derived_uid

SERIES_OFFSET = 6
_DESCRIPTION = "AI CXR key images - RESEARCH USE ONLY"
_IMAGES = (SecondaryCaptureImageStorage, SegmentationStorage)
REJECTION_SERIES = "AI CXR rejection note"
_OF_INTEREST = CodedConcept("113000", "DCM", "Of Interest")

RejectionReason = Literal["quality", "patient-safety"]
REASONS: dict[RejectionReason, CodedConcept] = {
    "quality": CodedConcept("113001", "DCM", "Rejected for Quality Reasons"),
    "patient-safety": CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons"),
}
"""Document titles of rejection notes (PS3.16 CID 7010)."""


@dataclass(frozen=True, slots=True)
class RetractedObject:
    """A result object that is taken back."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class RejectionNote:
    """Circumstances of a rejection note."""

    reason: RejectionReason
    node_ae_title: str
    series_number_base: int


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """What is selected, under which document title, and why in words."""

    title: CodedConcept
    description: str
    evidence: Sequence[Dataset]


def is_of_interest(film: AnalysedFilm, context: Context) -> bool:
    """Whether a film has a finding other than normal, or something was observed that is one."""
    return film.is_named or has_observed_findings(film.findings, context)


def key_objects(films: Sequence[AnalysedFilm], context: Context, uid: str) -> Dataset:
    """Return the selection of the films of one study that have a finding; there must be one."""
    chosen = [film for film in films if is_of_interest(film, context)]
    first = films[0].dataset
    template = context.template
    said = [f"{conclusion_on(film.findings, context)}. {view(film, template)}" for film in chosen]
    description = f"{' '.join(said)} {template.research_sentence}"
    evidence = [_image(evidence_of(film.dataset)) for film in chosen]
    selection = _Selection(_OF_INTEREST, description, evidence)
    document = _document(selection, uid, first, context.node_ae_title)
    document.SeriesInstanceUID = context.series_uid(first, "key-objects")
    document.SeriesNumber = context.series_number_base + SERIES_OFFSET
    document.SeriesDescription = _DESCRIPTION
    document.InstanceNumber = context.revision
    others = [film.dataset for film in films]
    _finish(document, first, others)
    set_equipment(first, document, context.cards(films), context.node_ae_title)
    return document


def rejection_note(
    source: Dataset, rejected: Sequence[RetractedObject], note: RejectionNote, uid: str
) -> Dataset:
    """Return the note that takes back ``rejected``, results on ``source`` and its study."""
    evidence = [_evidence(source, item) for item in rejected]
    title = REASONS[note.reason]
    selection = _Selection(title, title.meaning, evidence)
    document = _document(selection, uid, source, note.node_ae_title)
    document.SeriesInstanceUID = derived_uid(
        "series", str(source.StudyInstanceUID), "rejection", note.node_ae_title
    )
    document.SeriesNumber = note.series_number_base + SERIES_OFFSET + 1
    document.SeriesDescription = REJECTION_SERIES
    document.InstanceNumber = 1
    _finish(document, source, ())
    set_equipment(source, document, (), note.node_ae_title)
    return document


def _document(selection: _Selection, uid: str, source: Dataset, node_ae_title: str) -> Dataset:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", node_ae_title),
        name=node_ae_title,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MODEL_NAME} {__version__}",
    )
    content = hd.ko.KeyObjectSelection(
        document_title=selection.title,
        referenced_objects=selection.evidence,
        observer_device_context=hd.sr.ObserverContext(
            observer_type=CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=device,
        ),
        description=selection.description,
    )
    document: Dataset = hd.ko.KeyObjectSelectionDocument(
        evidence=selection.evidence,
        content=content,
        series_instance_uid=derived_uid("placeholder"),
        series_number=1,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        requested_procedures=requests_of(source) or None,
    )
    document.ContinuityOfContent = "SEPARATE"
    return document


def _finish(document: Dataset, source: Dataset, others: Sequence[Dataset]) -> None:
    copy_identity(source, document)
    set_times(source, document, others)


def _evidence(source: Dataset, item: RetractedObject) -> Dataset:
    evidence = evidence_of(source)
    evidence.SOPClassUID, evidence.SOPInstanceUID = item.sop_class_uid, item.sop_instance_uid
    evidence.SeriesInstanceUID = item.series_instance_uid
    return _image(evidence) if item.sop_class_uid in _IMAGES else evidence


def _image(evidence: Dataset) -> Dataset:
    # highdicom takes what has a matrix for an image, and refers to it as one; the size is not used.
    evidence.Rows = evidence.Columns = 1
    return evidence
