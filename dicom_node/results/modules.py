"""Who and what: patient, study and equipment modules of every result, copied from the source.

Patient identity and character set leave as they came (results.md section 7; fault 36): what was
written is read back and compared before anything leaves.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node import __version__
from dicom_node.errors import IdentityNotPreserved
from dicom_node.results.cards import NetworkCard
from dicom_node.uids import derived_uid

MANUFACTURER = "dicom-node"
MODEL_NAME = "dicom-node"
IMPLEMENTATION_CLASS_UID = derived_uid("implementation class")

PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence", "PatientBirthDate", "PatientBirthTime", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyDescription",
    "ProcedureCodeSequence", "PatientAge", "PatientSize", "PatientWeight",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialSubjectID",
    "InstitutionName",
)  # fmt: skip
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Must be there even when they are empty."""

_IDENTIFIERS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality",
    "Manufacturer",
)  # fmt: skip
_AGE = re.compile(r"\d{3}[DWMY]")

_COMPARED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName",
)  # fmt: skip


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Copy patient, study and character set of ``source`` into ``target``, nothing invented."""
    for keyword in (*PATIENT, *STUDY):
        if keyword in target:
            del target[keyword]
        if keyword in source and not _is_malformed_age(keyword, source):
            target[keyword] = deepcopy(source[keyword])
        elif keyword in _TYPE_2:
            setattr(target, keyword, "")
    if "SpecificCharacterSet" in source:
        target.SpecificCharacterSet = source.SpecificCharacterSet
    elif "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet


def _is_malformed_age(keyword: str, source: Dataset) -> bool:
    # An Age String of another form ("62") would make our object invalid; it is optional: left out.
    return keyword == "PatientAge" and not _AGE.fullmatch(str(source.PatientAge or ""))


def evidence_of(source: Dataset) -> Dataset:
    """Return what a report needs of its source, with empty values where films leave them out."""
    evidence = Dataset()
    for keyword in (*_TYPE_2, *_IDENTIFIERS):
        setattr(evidence, keyword, source.get(keyword) or "")
    return evidence


def timezone_of(source: Dataset, moment: datetime) -> timezone:
    """Return the source's time zone, or this machine's where it states none."""
    text = str(source.get("TimezoneOffsetFromUTC") or "").strip()
    if len(text) == 5 and text[0] in "+-" and text[1:].isdigit():
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


def set_equipment(source: Dataset, target: Dataset, networks: Sequence[NetworkCard]) -> None:
    """Name this node as the equipment, and what contributed: acquisition and each network."""
    target.Manufacturer = MANUFACTURER
    target.ManufacturerModelName = MODEL_NAME
    target.SoftwareVersions = __version__
    target.DeviceSerialNumber = __version__
    items = [_acquisition(source), *(_network(card) for card in networks)]
    target.ContributingEquipmentSequence = [item for item in items if item is not None]


def _purpose(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _acquisition(source: Dataset) -> Dataset | None:
    manufacturer = str(source.get("Manufacturer") or "")
    if not manufacturer:
        return None
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_purpose("109101", "Acquisition Equipment")]
    item.Manufacturer = manufacturer
    for keyword in ("ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
        if source.get(keyword):
            setattr(item, keyword, source.get(keyword))
    return item


def _network(card: NetworkCard) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_purpose("109102", "Processing Equipment")]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = card.title[:64]
    item.SoftwareVersions = card.version
    item.DeviceUID = derived_uid("network", card.id, card.version, card.weights)
    item.ContributionDescription = f"Analysed the film. Weights {card.weights}"[:1024]
    return item


def file_bytes(dataset: Dataset) -> bytes:
    """Return ``dataset`` as a Part 10 file, Explicit VR Little Endian, zero preamble."""
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
    with warnings.catch_warnings():
        # A name that its character set cannot hold is written as "?": `check_identity` sees it.
        warnings.simplefilter("ignore")
        file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def check_identity(source: Dataset, data: bytes) -> None:
    """Raise `IdentityNotPreserved` unless ``data``, read back, is of the source's patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        for keyword in _COMPARED:
            if str(written.get(keyword) or "") != str(source.get(keyword) or ""):
                raise IdentityNotPreserved(
                    f"{keyword} of the result of {source.SOPInstanceUID} is not the source's:"
                    " the film's Specific Character Set cannot hold it."
                )
