"""The Image Library of a report (TID 1600): the films it speaks of.

highdicom's own refuses films without spacing or orientation, and secondary captures of films.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateContentItem,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
    TimeContentItem,
)
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from dicom_node.imaging.header import header_of, patient_orientation_of

_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
_PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")
_MILLIMETRES = CodedConcept("mm", "UCUM", "mm")
_MODALITIES = {
    "CR": "Computed Radiography",
    "DX": "Digital Radiography",
    "RG": "Radiographic imaging",
}


def image_library(sources: Sequence[Dataset]) -> ContainerContentItem:
    """Return the container with one entry a film."""
    contains = RelationshipTypeValues.CONTAINS
    group = ContainerContentItem(
        CodedConcept("126200", "DCM", "Image Library Group"), relationship_type=contains
    )
    group.ContentSequence = ContentSequence([_entry(source) for source in sources])
    library = ContainerContentItem(
        CodedConcept("111028", "DCM", "Image Library"), relationship_type=contains
    )
    library.ContentSequence = ContentSequence([group])
    return library


def reference_in_tree(source: Dataset) -> ImageContentItem:
    """Return the entry of a film with nothing said of it."""
    return ImageContentItem(
        CodedConcept("260753009", "SCT", "Source"),
        referenced_sop_class_uid=source.SOPClassUID,
        referenced_sop_instance_uid=source.SOPInstanceUID,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def _entry(source: Dataset) -> ImageContentItem:
    entry = reference_in_tree(source)
    descriptors = [*_modality(source), *_taken(source), *_matrix(source), *_orientation(source)]
    if descriptors:
        entry.ContentSequence = ContentSequence(descriptors)
    return entry


def _modality(source: Dataset) -> Iterator[ContentItem]:
    modality = str(source.get("Modality") or "")
    if modality in _MODALITIES:
        value = CodedConcept(modality, "DCM", _MODALITIES[modality])
        yield CodeContentItem(_dcm("121139", "Modality"), value, relationship_type=_CONTEXT)


def _taken(source: Dataset) -> Iterator[ContentItem]:
    """Yield date and time of acquisition where both are well-formed."""
    date, time = str(source.get("AcquisitionDate") or ""), str(source.get("AcquisitionTime") or "")
    try:
        day, clock = DA(date), TM(time)
    except ValueError:
        return
    if day is not None:
        yield DateContentItem(_dcm("126201", "Acquisition Date"), day, relationship_type=_CONTEXT)
    if day is not None and clock is not None:
        yield TimeContentItem(_dcm("126202", "Acquisition Time"), clock, relationship_type=_CONTEXT)


def _matrix(source: Dataset) -> Iterator[ContentItem]:
    header = header_of(source)
    if header.rows and header.columns:
        yield _num(_dcm("110910", "Pixel Data Rows"), header.rows, _PIXELS)
        yield _num(_dcm("110911", "Pixel Data Columns"), header.columns, _PIXELS)
    if header.pixel_spacing is not None and min(header.pixel_spacing) > 0:
        down, across = header.pixel_spacing
        yield _num(_dcm("111026", "Horizontal Pixel Spacing"), across, _MILLIMETRES)
        yield _num(_dcm("111066", "Vertical Pixel Spacing"), down, _MILLIMETRES)


def _orientation(source: Dataset) -> Iterator[ContentItem]:
    parts = patient_orientation_of(source)
    if len(parts) == 2 and all(parts):
        row, column = parts
        yield _text(_dcm("111044", "Patient Orientation Row"), row)
        yield _text(_dcm("111043", "Patient Orientation Column"), column)


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "DCM", meaning)


def _num(name: CodedConcept, value: float, unit: CodedConcept) -> NumContentItem:
    item = NumContentItem(name, value, unit, relationship_type=_CONTEXT)
    if isinstance(value, int):
        item.MeasuredValueSequence[0].NumericValue = str(value)
    return item


def _text(name: CodedConcept, value: str) -> TextContentItem:
    return TextContentItem(name, value, relationship_type=_CONTEXT)
