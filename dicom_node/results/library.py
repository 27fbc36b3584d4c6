"""The Image Library of a report (TID 1600): the films it speaks of.

highdicom's own refuses films without spacing or orientation, and secondary captures of films. It
makes and judges each item here; what is said of many films alike is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    DateContentItem,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
    TimeContentItem,
)
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from dicom_node.imaging.header import matrix_of, patient_orientation_of
from dicom_node.results.stencil import CONTENT, Encodings, cut, fill, sequence

_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
_PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")
_MILLIMETRES = CodedConcept("mm", "UCUM", "mm")
_MODALITIES = {
    "CR": "Computed Radiography",
    "DX": "Digital Radiography",
    "RG": "Radiographic imaging",
}
_LIBRARY, _GROUP = ("111028", "Image Library"), ("126200", "Image Library Group")


@dataclass(frozen=True, slots=True)
class _Descriptor:
    """What an entry says of its film: an item that ``make`` makes of a concept and a value."""

    make: Callable[[CodedConcept, Any], ContentItem]
    concept: tuple[str, str]
    value: str | int | float


def image_library(sources: Sequence[Dataset], encodings: Encodings) -> bytes:
    """Return the container with one entry a film, as an encoded item.

    Raises `IdentityNotPreserved` where a text cannot be written whole.
    """
    entries = [_entry(source, encodings) for source in sources]
    group = _container(_GROUP, encodings) + sequence(CONTENT, entries)
    return _container(_LIBRARY, encodings) + sequence(CONTENT, [group])


def reference_in_tree(source: Dataset) -> ImageContentItem:
    """Return the entry of a film with nothing said of it."""
    return ImageContentItem(
        CodedConcept("260753009", "SCT", "Source"),
        referenced_sop_class_uid=source.SOPClassUID,
        referenced_sop_instance_uid=source.SOPInstanceUID,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def _entry(source: Dataset, encodings: Encodings) -> bytes:
    entry = _encoded(reference_in_tree(source), encodings)
    said = [*_modality(source), *_taken(source), *_matrix(source), *_orientation(source)]
    items = [_described(each, encodings) for each in said]
    return entry + sequence(CONTENT, items) if items else entry


@lru_cache(maxsize=64)
def _container(name: tuple[str, str], encodings: Encodings) -> bytes:
    """Return a container up to its content."""
    contains = RelationshipTypeValues.CONTAINS
    container = ContainerContentItem(_dcm(*name), relationship_type=contains)
    container.ContinuityOfContent = "SEPARATE"
    return _encoded(container, encodings)


@lru_cache(maxsize=1024)
def _described(said: _Descriptor, encodings: Encodings) -> bytes:
    return _encoded(said.make(_dcm(*said.concept), said.value), encodings)


def _encoded(item: Dataset, encodings: Encodings) -> bytes:
    return fill(cut(item, {}, encodings), {}, encodings)


def _modality(source: Dataset) -> Iterator[_Descriptor]:
    modality = str(source.get("Modality") or "")
    if modality in _MODALITIES:
        yield _Descriptor(_code, ("121139", "Modality"), modality)


def _taken(source: Dataset) -> Iterator[_Descriptor]:
    """Yield date and time of acquisition where both are well-formed."""
    date, time = str(source.get("AcquisitionDate") or ""), str(source.get("AcquisitionTime") or "")
    try:
        day, clock = DA(date), TM(time)
    except ValueError:
        return
    if day is not None:
        yield _Descriptor(_date, ("126201", "Acquisition Date"), date)
    if day is not None and clock is not None:
        yield _Descriptor(_time, ("126202", "Acquisition Time"), time)


def _matrix(source: Dataset) -> Iterator[_Descriptor]:
    rows, columns, spacing = matrix_of(source)
    if rows and columns:
        yield _Descriptor(_pixels, ("110910", "Pixel Data Rows"), rows)
        yield _Descriptor(_pixels, ("110911", "Pixel Data Columns"), columns)
    if spacing is not None and min(spacing) > 0:
        down, across = spacing
        yield _Descriptor(_millimetres, ("111026", "Horizontal Pixel Spacing"), across)
        yield _Descriptor(_millimetres, ("111066", "Vertical Pixel Spacing"), down)


def _orientation(source: Dataset) -> Iterator[_Descriptor]:
    parts = patient_orientation_of(source)
    if len(parts) == 2 and all(parts):
        row, column = parts
        yield _Descriptor(_text, ("111044", "Patient Orientation Row"), row)
        yield _Descriptor(_text, ("111043", "Patient Orientation Column"), column)


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "DCM", meaning)


def _code(name: CodedConcept, modality: str) -> CodeContentItem:
    return CodeContentItem(name, _dcm(modality, _MODALITIES[modality]), relationship_type=_CONTEXT)


def _date(name: CodedConcept, value: str) -> DateContentItem:
    return DateContentItem(name, DA(value), relationship_type=_CONTEXT)


def _time(name: CodedConcept, value: str) -> TimeContentItem:
    return TimeContentItem(name, TM(value), relationship_type=_CONTEXT)


def _pixels(name: CodedConcept, value: int) -> NumContentItem:
    item = NumContentItem(name, value, _PIXELS, relationship_type=_CONTEXT)
    item.MeasuredValueSequence[0].NumericValue = str(value)
    return item


def _millimetres(name: CodedConcept, value: float) -> NumContentItem:
    return NumContentItem(name, value, _MILLIMETRES, relationship_type=_CONTEXT)


def _text(name: CodedConcept, value: str) -> TextContentItem:
    return TextContentItem(name, value, relationship_type=_CONTEXT)
