"""Tables of every attribute of every object that is created, from objects that were created.

The objects are those of a phantom with invented findings, and a note that takes one of them back.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydicom
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.tag import Tag

from dicom_node.conformance.wire import table
from dicom_node.imaging.header import header_of
from dicom_node.records import ObjectKind
from dicom_node.results.key_objects import (
    REJECTION_SERIES,
    RejectionNote,
    RetractedObject,
    rejection_note,
)
from dicom_node.results.modules import INSTITUTION, PATIENT, STUDY, TRIAL, TYPE_2
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.results.templates import Template
from dicom_node.results.write import write_results
from dicom_node.uids import derived_uid

_COPIED = frozenset({*PATIENT, *STUDY, *TRIAL, *INSTITUTION, "SpecificCharacterSet"})
_BY_TEMPLATE = frozenset({"SeriesDescription", "DerivationDescription", "ImageComments"})
_FOLLOWS = {
    "Rows": "the picture, or the film",
    "Columns": "the picture, or the film",
    "PatientOrientation": "the film's, or empty",
    "ViewPosition": "the film's, if it has one",
    "BurnedInAnnotation": "the film's (capture); YES (PDF: patient and study stand on the page)",
    "LossyImageCompression": "the film's, if it says",
    "ManufacturerModelName": "dicom-node",
    "DeviceSerialNumber": "AE title of the node",
    "SoftwareVersions": "version of the node",
    "SecondaryCaptureDeviceSoftwareVersions": "version of the node",
    "SeriesNumber": "`results.series_number_base` and a number a kind of object",
    "InstanceNumber": "number of the film, or of the report",
}
_SEQUENCES = {
    "CodingSchemeIdentificationSequence": "99DICOMNODE",
    "ContributingEquipmentSequence": "acquisition (109101) from the film; each network (109102):"
    " title, version, Device UID, digest of the weights",
    "ContentTemplateSequence": "the template, section 7.1",
    "ContentSequence": "the tree, section 7.1",
    "CurrentRequestedProcedureEvidenceSequence": "the films, or the results that are taken back",
    "SourceImageSequence": "the film, purpose (121322, DCM)",
    "ReferencedSeriesSequence": "the film's series and the film",
    "GraphicAnnotationSequence": "polylines in PIXEL units: what is mapped opaque (without a map:"
    " what stood out), lungs and their parts; a text",
    "SegmentSequence": "a segment a lung and one for mapped opacity, or one for the heat;"
    " algorithm, tracking UID",
    "DisplayedAreaSelectionSequence": "the whole film, SCALE TO FIT",
}
_SEQUENCE, _TIME = "SQ", ("DA", "TM", "DT")


def created(template: Template) -> Mapping[ObjectKind, Sequence[Dataset]]:
    """Return one object of each kind and SOP class, written for a phantom."""
    found: dict[ObjectKind, list[Dataset]] = {}
    seen = set()
    for item in write_results([preview_film()], preview_context(template), tuple(ObjectKind)):
        if (item.kind, item.sop_class_uid) not in seen:
            seen.add((item.kind, item.sop_class_uid))
            found.setdefault(item.kind, []).append(pydicom.dcmread(io.BytesIO(item.data)))
    report = found[ObjectKind.REPORT][0]
    rejected = RetractedObject(report.SOPClassUID, report.SOPInstanceUID, report.SeriesInstanceUID)
    note = RejectionNote("quality", "DICOMNODE", 9000)
    found[ObjectKind.KEY_OBJECTS].append(
        rejection_note(preview_film().dataset, [rejected], note, derived_uid("rejection"))
    )
    return found


def attributes(template: Template) -> str:
    """Return a table of attributes for each object that is created; equal ones are told once."""
    tables: dict[tuple[str, str], list[str]] = {}
    for kind, written in created(template).items():
        for document in written:
            rows = [_row(element) for element in document if element.tag.group != 2]
            tables.setdefault((str(kind), table(_HEAD, rows)), []).append(_name(document))
    return "\n\n".join(
        f"#### {', '.join(names)} (`{kind}`)\n\n{rows}" for (kind, rows), names in tables.items()
    )


def _name(document: Dataset) -> str:
    named = str(document.SOPClassUID.name)
    if document.get("SeriesDescription") == REJECTION_SERIES:
        return f"{named}, rejection note"
    return named


def copied() -> str:
    """Return the attributes that are copied from the film where it has them."""
    keywords = ("SpecificCharacterSet", *PATIENT, *STUDY, *TRIAL, *INSTITUTION)
    rows = [(dictionary_description(keyword), str(Tag(keyword))) for keyword in keywords]
    return table(("attribute", "tag"), rows)


_HEAD = ("tag", "attribute", "VR", "value")


def _row(element: DataElement) -> tuple[str, str, str, str]:
    return (str(element.tag), dictionary_description(element.tag), str(element.VR), _from(element))


def _from(element: DataElement) -> str:
    keyword = element.keyword
    if keyword == "StudyInstanceUID":
        return "copied from the film"
    if keyword in _COPIED:
        absent = "empty" if keyword in TYPE_2 else "absent"
        return f"copied from the film, {absent} where it has none"
    if keyword in _FOLLOWS:
        return _FOLLOWS[keyword]
    if keyword in _BY_TEMPLATE:
        return "from the template or fixed; names the research use"
    if element.VR != _SEQUENCE and not element.value and element.value != 0:
        return "empty"
    if element.VR in _TIME or keyword == "TimezoneOffsetFromUTC":
        return "when the film (of several: the latest) was taken, 1970-01-01 where it does not tell"
    if keyword == "SOPClassUID":
        return "that of the object"
    if element.VR == "UI":
        return "derived (2.25), the same for the same input"
    if element.VR == _SEQUENCE:
        return _sequence(element)
    if element.VR in ("OB", "OW"):
        return "the content"
    return _shown(element)


def _sequence(element: DataElement) -> str:
    if not element.value:
        return "empty"
    if element.keyword in _SEQUENCES:
        return _SEQUENCES[element.keyword]
    code = element.value[0]
    if "CodeValue" in code:
        return f"({code.CodeValue}, {code.CodingSchemeDesignator}, {code.CodeMeaning})"
    return "as the IOD wants it, for this film"


def _shown(element: DataElement) -> str:
    value = element.value
    text = "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if not hasattr(value, "__len__") or isinstance(value, str) or len(value):
        return f"`{text[:40]}`" if text else "empty"
    return "empty"


class _Asked(Dataset):
    """A data set that remembers which attributes were asked for."""

    asked: set[str]

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value and remember that it was asked for."""
        self.asked.add(str(key))
        return super().get(key, default)


def used() -> str:
    """Return the attributes of a received film that decide what becomes of it."""
    plain = preview_film().dataset
    asked = _Asked(plain)
    asked.__dict__["asked"] = set()
    asked.file_meta = plain.file_meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header_of(asked)
    return table(("attribute", "tag"), list(_named(asked.__dict__["asked"])))


def _named(keywords: set[str]) -> Iterator[tuple[str, str]]:
    for keyword in sorted(keywords):
        tag = tag_for_keyword(keyword)
        if tag is not None and (tag >> 16) != 2:
            yield dictionary_description(tag), str(Tag(tag))


def concepts(template: Template) -> str:
    """Return every code of the shipped template."""
    rows = {(code.value, code.scheme, code.meaning) for code in template.codes()}
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    return table(("code value", "scheme", "meaning in the English template"), ordered)
