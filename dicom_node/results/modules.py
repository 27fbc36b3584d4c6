"""Who and what: patient, study and equipment modules of every result, copied from the source.

Patient identity and character set leave as they came: what was written is read back and compared
before anything leaves.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pydicom
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from dicom_node import __version__
from dicom_node.errors import IdentityNotPreserved
from dicom_node.imaging.received import as_it_came, keep_received, stored_bytes
from dicom_node.imaging.representation import keeps_its_vr
from dicom_node.imaging.values import items, text, texts
from dicom_node.results.cards import NetworkCard
from dicom_node.uids import IMPLEMENTATION_CLASS_UID, derived_uid

MANUFACTURER = "dicom-node"
MODEL_NAME = "dicom-node"

PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID", "OtherPatientIDsSequence", "PatientBirthDate", "PatientBirthTime",
    "PatientSex", "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)  # fmt: skip
STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyDescription",
    "ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight",
)  # fmt: skip
TRIAL = (
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "LongitudinalTemporalOffsetFromEvent",
    "LongitudinalTemporalEventType",
)  # fmt: skip
INSTITUTION = ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName")
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Must be there even when they are empty."""

_IDENTIFIERS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality",
    "Manufacturer",
)  # fmt: skip
_ACCESSION = "AccessionNumber"
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?")
_DIRECTION = re.compile(r"[LRAPHF]{1,3}")
UNDATED = ("19700101", "000000")
"""Date and time of results on films that do not tell when they were taken."""

_UNTOLD_TIMES = (
    "SeriesDate", "SeriesTime", "InstanceCreationDate", "InstanceCreationTime",
    "TimezoneOffsetFromUTC",
)  # fmt: skip
"""Of a series or of a writing: they would differ between results that are the same."""


IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "AccessionNumber",
)  # fmt: skip
"""What must be the same in source and result."""

_AS_IT_IS = frozenset({*TYPE_2, *IDENTITY})
"""What goes as it came, whatever it is."""

_META = 0x0002
_PIXEL_DATA = Tag("PixelData")
_BEGIN = 132
"""Where the first element of a file begins: behind preamble and "DICM" (PS3.10 7.1)."""

_ENCODING_FAILED = "Failed to encode value"
"""How pydicom's warning begins when it writes question marks for what a character set has not."""


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy patient, study and character set of ``source`` into ``target``, nothing invented.

    Text is copied as its bytes. What identifies goes as it came; another attribute that breaks its
    VR would make the object invalid, and is left out.
    """
    for keyword in (*PATIENT, *STUDY, *TRIAL, *INSTITUTION):
        if keyword in target:
            del target[keyword]
        copied = as_it_came(source, keyword)
        if copied is not None and (keyword in _AS_IT_IS or keeps_its_vr(copied, source)):
            target[keyword] = copied
        elif keyword in TYPE_2:
            setattr(target, keyword, "")
    if "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet
    if "SpecificCharacterSet" in source:
        target.SpecificCharacterSet = list(texts(source, "SpecificCharacterSet"))


def evidence_of(source: Dataset) -> Dataset:
    """Return what highdicom needs of a source to refer to it.

    Nothing of the patient: that comes by `copy_identity`, and highdicom's warnings quote names.
    """
    evidence = Dataset()
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    for keyword in _IDENTIFIERS:
        setattr(evidence, keyword, text(source, keyword))
    return evidence


def orientation_of(source: Dataset) -> list[str] | str:
    """Return the film's Patient Orientation, or "" where it is not the two values it must have."""
    told = texts(source, "PatientOrientation")
    return list(told) if len(told) == 2 and all(map(_DIRECTION.fullmatch, told)) else ""


def reference_to(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that refers to an instance (PS3.3 section 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def requests_of(source: Dataset) -> list[Dataset]:
    """Return the Referenced Request Sequence that follows from the source's Request Attributes."""
    return [_request(source, item) for item in items(source, "RequestAttributesSequence")]


def _request(source: Dataset, attributes: Dataset) -> Dataset:
    request = Dataset()
    study = _sound(attributes, "StudyInstanceUID", source)
    _put(request, "StudyInstanceUID", study or as_it_came(source, "StudyInstanceUID"), "")
    for keyword in (
        "RequestedProcedureID", "RequestedProcedureDescription",
        "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
    ):  # fmt: skip
        _put(request, keyword, _sound(attributes, keyword, source), "")
    accession = as_it_came(attributes if text(attributes, _ACCESSION) else source, _ACCESSION)
    _put(request, _ACCESSION, accession, "")
    for keyword in ("ReferencedStudySequence", "RequestedProcedureCodeSequence"):
        _put(request, keyword, _sound(attributes, keyword, source), [])
    return request


def _sound(item: Dataset, keyword: str, source: Dataset) -> DataElement | None:
    """Return a copy of an attribute as it came, None where it is empty or breaks its VR."""
    copied = as_it_came(item, keyword)
    return copied if copied is not None and copied.value and keeps_its_vr(copied, source) else None


def _put(item: Dataset, keyword: str, copied: DataElement | None, otherwise: object) -> None:
    if copied is None:
        setattr(item, keyword, otherwise)
    else:
        item[keyword] = copied


def set_times(source: Dataset, target: Dataset, others: Iterable[Dataset] = ()) -> None:
    """Date a result by when its films were taken, the latest of ``source`` and ``others``.

    Never by a clock: the same films and findings are the same bytes, whenever, wherever and however
    often they are written. Films that do not say are of `UNDATED`. The offset from UTC is the
    source's, or absent. Times that a library has set are taken out.
    """
    when = max(map(_taken, (source, *others)))
    target.ContentDate, target.ContentTime = when
    for keyword in _UNTOLD_TIMES:
        if keyword in target:
            del target[keyword]
    offset = text(source, "TimezoneOffsetFromUTC")
    if _OFFSET.fullmatch(offset):
        target.TimezoneOffsetFromUTC = offset


def _taken(source: Dataset) -> tuple[str, str]:
    """Return date and time of a film, as valid values of DA and TM."""
    for prefix in ("Acquisition", "Content", "Series", "Study"):
        date = text(source, f"{prefix}Date")
        if _DATE.fullmatch(date):
            time = text(source, f"{prefix}Time")
            return date, time if _TIME.fullmatch(time) else UNDATED[1]
    return UNDATED


def set_equipment(
    source: Dataset, target: Dataset, networks: Iterable[NetworkCard], node_ae_title: str
) -> None:
    """Name this node as the equipment, and what contributed: acquisition and each network.

    The serial number of a node is its AE title: what tells it from other nodes of the hospital.
    """
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = MODEL_NAME
    target.SoftwareVersions = __version__
    target.DeviceSerialNumber = node_ae_title
    acquisition = _acquisition(source)
    contributed = [acquisition] if acquisition is not None else []
    contributed += [_network(card) for card in networks]
    if contributed:
        target.ContributingEquipmentSequence = contributed


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded entry of PS3.3 section 8.8."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def set_part_examined(source: Dataset, target: Dataset, part: str) -> None:
    """State a part of the body, if it is known, and on which side, unless there is one alone.

    A side that the film does not state is stated as unknown (PS3.3 C.7.3.1, type 2C).
    """
    if part:
        target.BodyPartExamined = part
    if part not in _UNPAIRED:
        stated = (text(source, keyword) for keyword in ("Laterality", "ImageLaterality"))
        target.Laterality = next((each for each in stated if each in ("R", "L")), "")


_UNPAIRED = frozenset(
    {
        "ABDOMEN", "CHEST", "COCCYX", "CSPINE", "HEAD", "LSPINE", "NECK", "PELVIS", "SKULL",
        "SPINE", "SSPINE", "TSPINE",
    }
)  # fmt: skip
"""Parts of the body without a side (PS3.16 Annex L)."""


def coding_scheme(designator: str) -> Dataset:
    """Return the item that identifies the scheme of our own codes (PS3.3 C.12.1)."""
    item = Dataset()
    item.CodingSchemeDesignator = designator
    item.CodingSchemeUID = derived_uid("coding scheme", designator)
    item.CodingSchemeName = "dicom-node"
    item.CodingSchemeResponsibleOrganization = "dicom-node"
    return item


def _acquisition(source: Dataset) -> Dataset | None:
    manufacturer = _sound(source, "Manufacturer", source)
    if manufacturer is None:
        return None
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109101", "DCM", "Acquisition Equipment")]
    item["Manufacturer"] = manufacturer
    for keyword in (
        "InstitutionName", "StationName", "ManufacturerModelName", "DeviceSerialNumber",
        "SoftwareVersions",
    ):  # fmt: skip
        copied = _sound(source, keyword, source)
        if copied is not None:
            item[keyword] = copied
    return item


@lru_cache(maxsize=64)
def _network(card: NetworkCard) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = card.title[:64]
    item.SoftwareVersions = card.version
    item.DeviceUID = derived_uid("network", card.id, card.version, card.weights)
    item.ContributionDescription = f"Analysed the film. Weights {card.weights}"[:1024]
    return item


def file_bytes(dataset: Dataset, source: Dataset) -> bytes:
    """Return a result as a Part 10 file, Explicit VR Little Endian, zero preamble.

    Raises `IdentityNotPreserved` unless it reads back as of the patient of ``source``, and with
    every text in it, down to the descriptions, whole.
    """
    begin, *rest = parts_of_file(dataset, source)
    check_identity(source, begin)
    return b"".join([begin, *rest])


def parts_of_file(dataset: Dataset, source: Dataset) -> list[bytes]:
    """Return what `file_bytes` does, not read back; raises only where a text is lost.

    What it says of itself and of the patient is in the first part; a tree or pixels that are
    encoded already follow as they are, since they are long.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"DICOMNODE {__version__}"[:16]
    last, tags = _encoded_last(dataset), sorted(dataset.keys())
    plain = Dataset()
    for tag in tags[:-1] if last else tags:
        if tag.group != _META:
            plain[tag] = dataset.get_item(tag)
    file = FileDataset("", plain, preamble=bytes(128), file_meta=meta)
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as said:
        # Values that break their VR are copied as they came; lost characters are an error, below.
        warnings.simplefilter("always")
        file.save_as(buffer, enforce_file_format=True)
    begin = buffer.getvalue()
    if any(str(warning.message).startswith(_ENCODING_FAILED) for warning in said):
        # Where it is the patient that was lost, that is what is to be said.
        check_identity(source, begin)
        raise IdentityNotPreserved(
            f"The Specific Character Set of {source.SOPInstanceUID} cannot hold the texts of its"
            " result."
        )
    return [begin, *last]


def _encoded_last(dataset: Dataset) -> list[bytes]:
    """Return the element that a data set ends with where its value is encoded: a tree, or pixels.

    pydicom would take the tree to pieces to write it, and copy the pixels several times.
    """
    element: Any = dataset.get_item(max(dataset.keys()))
    is_tree = isinstance(element, RawDataElement) and element.VR == VR.SQ
    is_bytes = element.tag == _PIXEL_DATA and element.VR == VR.OB and len(element.value) % 2 == 0
    if not (is_tree or is_bytes):
        return []
    tag, vr = element.tag, element.VR.encode("ascii")
    head = struct.pack("<HH2sHL", tag.group, tag.element, vr, 0, len(element.value))
    return [head, element.value]


def reissued(data: bytes, source: Dataset, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return what `renamed` does. Raises `IdentityNotPreserved` as `file_bytes` does."""
    written = renamed(data, sop_class_uid, sop_instance_uid)
    check_identity(source, written)
    return written


def renamed(data: bytes, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return a file of `file_bytes` as another instance of another SOP class.

    All else is byte by byte the same: what names it stands before everything else that is long.
    """
    named = {
        (0x0002, 0x0002): sop_class_uid, (0x0002, 0x0003): sop_instance_uid,
        (0x0008, 0x0016): sop_class_uid, (0x0008, 0x0018): sop_instance_uid,
    }  # fmt: skip
    elements, place, tag = [], _BEGIN, (0, 0)
    while tag < (0x0008, 0x0018):
        tag, end = _element_at(data, place)
        uid = named.get(tag)
        elements.append((tag, data[place:end] if uid is None else _uid_element(tag, uid)))
        place = end
    meta = sum(len(each) for (group, _), each in elements[1:] if group == _META)
    length = struct.pack("<HH2sHL", _META, 0, b"UL", 4, meta)
    return b"".join(
        [data[:_BEGIN], length, *(each for _, each in elements[1:]), memoryview(data)[place:]]
    )


def _element_at(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Return the tag of an element in Explicit VR Little Endian, and where the next one begins."""
    group, number, vr, length = struct.unpack_from("<HH2sH", data, place)
    if vr.decode() not in EXPLICIT_VR_LENGTH_32:
        return (group, number), place + 8 + length
    return (group, number), place + 12 + int(struct.unpack_from("<L", data, place + 8)[0])


def _uid_element(tag: tuple[int, int], uid: str) -> bytes:
    value = uid.encode("ascii") + b"\0" * (len(uid) % 2)
    return struct.pack("<HH2sH", *tag, b"UI", len(value)) + value


def check_identity(source: Dataset, data: bytes) -> None:
    """Raise `IdentityNotPreserved` unless ``data``, read back, is of the source's patient.

    Compared as the bytes that came; a value that came in none, or was set since, as text.
    """
    # Our own bytes: none of what `read_attributes` mends of others', and of a long tree nothing.
    written = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=[*IDENTITY])
    keep_received(written)
    for keyword in IDENTITY:
        if not _is_same(source, written, keyword):
            raise IdentityNotPreserved(
                f"{keyword} of the result of {source.SOPInstanceUID} is not the source's:"
                " the film's Specific Character Set cannot hold it."
            )


def _is_same(source: Dataset, written: Dataset, keyword: str) -> bool:
    before, after = stored_bytes(source, keyword), stored_bytes(written, keyword) or b""
    if before is not None:
        return before == after
    return text(source, keyword) == text(written, keyword)
