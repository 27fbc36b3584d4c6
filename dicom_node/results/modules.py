"""Who and what: patient, study and equipment modules of every result, copied from the source.

Patient identity and character set leave as they came: what was written is read back and compared
before anything leaves.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node import __version__
from dicom_node.errors import IdentityNotPreserved
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
_AGE = re.compile(r"\d{3}[DWMY]")
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")

IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "AccessionNumber",
)  # fmt: skip
"""What must be the same in source and result."""

_PATIENT_ALONE = tuple(key for key in IDENTITY if key.startswith(("Patient", "Issuer")))
"""What every film of a study must share."""

_ENCODING_FAILED = "Failed to encode value"
"""How pydicom's warning begins when it writes question marks for what a character set has not."""


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy patient, study and character set of ``source`` into ``target``, nothing invented."""
    for keyword in (*PATIENT, *STUDY, *TRIAL, *INSTITUTION):
        if keyword in target:
            del target[keyword]
        if keyword in source and not _is_malformed_age(keyword, source):
            target[keyword] = deepcopy(source[keyword])
        elif keyword in TYPE_2:
            setattr(target, keyword, "")
    if "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet
    if "SpecificCharacterSet" in source:
        target["SpecificCharacterSet"] = deepcopy(source["SpecificCharacterSet"])


def _is_malformed_age(keyword: str, source: Dataset) -> bool:
    # An Age String of another form ("62") would make our object invalid; it is optional: left out.
    return keyword == "PatientAge" and not _AGE.fullmatch(str(source.PatientAge or ""))


def evidence_of(source: Dataset) -> Dataset:
    """Return what highdicom needs of a source to refer to it.

    Nothing of the patient: that comes by `copy_identity`, and highdicom's warnings quote names.
    """
    evidence = Dataset()
    for keyword in TYPE_2:
        setattr(evidence, keyword, "")
    for keyword in _IDENTIFIERS:
        setattr(evidence, keyword, source.get(keyword) or "")
    return evidence


def orientation_of(source: Dataset) -> list[str] | str:
    """Return the film's Patient Orientation, or "" where it is not the two values it must have."""
    told = source.get("PatientOrientation")
    if isinstance(told, str) or not told or len(told) != 2:
        return ""
    return [str(value) for value in told]


def reference_to(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that refers to an instance (PS3.3 section 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def requests_of(source: Dataset) -> list[Dataset]:
    """Return the Referenced Request Sequence that follows from the source's Request Attributes."""
    return [_request(source, item) for item in source.get("RequestAttributesSequence") or ()]


def _request(source: Dataset, attributes: Dataset) -> Dataset:
    request = Dataset()
    request.StudyInstanceUID = attributes.get("StudyInstanceUID") or source.StudyInstanceUID
    for keyword in (
        "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription",
        "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
    ):  # fmt: skip
        given = attributes.get(keyword) or (
            source.get(keyword) if keyword == "AccessionNumber" else None
        )
        setattr(request, keyword, given or "")
    for keyword in ("ReferencedStudySequence", "RequestedProcedureCodeSequence"):
        setattr(request, keyword, deepcopy(attributes.get(keyword)) or [])
    return request


def timezone_of(source: Dataset, moment: datetime) -> timezone:
    """Return the source's time zone, or this machine's where it states none."""
    text = str(source.get("TimezoneOffsetFromUTC") or "").strip()
    if _OFFSET.fullmatch(text):
        minutes = int(text[1:3]) * 60 + int(text[3:5])
        return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
    offset = moment.astimezone().utcoffset()
    return timezone(offset) if offset is not None else UTC


def set_times(source: Dataset, target: Dataset, moment: datetime) -> None:
    """Set series, content and creation times to ``moment`` (aware) in the source's time zone."""
    local = moment.astimezone(timezone_of(source, moment))
    date, time = local.strftime("%Y%m%d"), local.strftime("%H%M%S.%f")
    for prefix in ("Series", "Content", "InstanceCreation"):
        setattr(target, f"{prefix}Date", date)
        setattr(target, f"{prefix}Time", time)
    target.TimezoneOffsetFromUTC = local.strftime("%z")


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
    items = [_acquisition(source), *(_network(card) for card in networks)]
    target.ContributingEquipmentSequence = [item for item in items if item is not None]


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded entry of PS3.3 section 8.8."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _acquisition(source: Dataset) -> Dataset | None:
    if not source.get("Manufacturer"):
        return None
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109101", "DCM", "Acquisition Equipment")]
    for keyword in (
        "Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName",
        "DeviceSerialNumber", "SoftwareVersions",
    ):  # fmt: skip
        if source.get(keyword):
            item[keyword] = deepcopy(source[keyword])
    return item


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
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"DICOMNODE {__version__}"[:16]
    plain = Dataset()
    plain.update({tag: dataset[tag] for tag in dataset.keys() if tag.group != 2})  # noqa: SIM118
    file = FileDataset("", plain, preamble=bytes(128), file_meta=meta)
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as said:
        # Values that break their VR are copied as they came; lost characters are an error, below.
        warnings.simplefilter("always")
        file.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    check_identity(source, data)
    if any(str(warning.message).startswith(_ENCODING_FAILED) for warning in said):
        raise IdentityNotPreserved(
            f"The Specific Character Set of {source.SOPInstanceUID} cannot hold the texts of its"
            " result."
        )
    return data


def reissued(data: bytes, source: Dataset, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return a result as another instance of another SOP class, all else byte by byte the same.

    Raises `IdentityNotPreserved` as `file_bytes` does.
    """
    # pydicom leaves what is not looked at as the bytes it was, a content tree of thousands too.
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_instance_uid
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # What is amiss was said when ``data`` was written.
        warnings.simplefilter("ignore")
        dataset.save_as(buffer, enforce_file_format=True)
    check_identity(source, buffer.getvalue())
    return buffer.getvalue()


def check_one_patient(sources: Sequence[Dataset]) -> None:
    """Raise `IdentityNotPreserved` unless all films are of one study and one patient."""
    for keyword in ("StudyInstanceUID", *_PATIENT_ALONE):
        if len({_comparable(source, keyword) for source in sources}) > 1:
            raise IdentityNotPreserved(
                f"The films of study {sources[0].StudyInstanceUID} differ in {keyword}.",
                remedy="Correct the study in the PACS and send it again.",
            )


def check_identity(source: Dataset, data: bytes) -> None:
    """Raise `IdentityNotPreserved` unless ``data``, read back, is of the source's patient.

    Values are compared as text, each in the character set that its data set names. A value in
    bytes that its character set does not have cannot be compared, and is not let through.
    """
    with warnings.catch_warnings():
        # The source's own values may break their VR or name an unknown character set.
        warnings.simplefilter("ignore")
        written = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        for keyword in IDENTITY:
            if not _is_same(source, written, keyword):
                raise IdentityNotPreserved(
                    f"{keyword} of the result of {source.SOPInstanceUID} is not the source's:"
                    " the film's Specific Character Set cannot hold it."
                )


def _is_same(source: Dataset, written: Dataset, keyword: str) -> bool:
    before, after = source.get(keyword) or "", written.get(keyword) or ""
    if str(before) != str(after):
        return False
    # Bytes that the named character set does not have: pydicom has read them as U+FFFD, and what
    # they were is lost.
    return "\N{REPLACEMENT CHARACTER}" not in str(before)


def _comparable(source: Dataset, keyword: str) -> str:
    # Empty trailing components and spaces say nothing (PS3.5 6.2.1.1).
    return str(source.get(keyword) or "").rstrip("^= ").strip()
