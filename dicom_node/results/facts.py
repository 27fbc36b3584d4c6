"""What lists, searches and courses need of a header: read once, kept in the ledger as JSON.

As legible as the header is: what cannot be told as its VR has it is named without a value. Patient
data, as the case list has it: never logged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.tag import BaseTag, Tag

from dicom_node.errors import HeaderUnreadable
from dicom_node.imaging.header import parsing
from dicom_node.imaging.identity import PatientIdentity, identity_of
from dicom_node.imaging.patient import Patient, patient_of
from dicom_node.records import Digest
from dicom_node.results.films import taken_at

STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
)  # fmt: skip
SERIES = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "BodyPartExamined",
)  # fmt: skip
INSTANCE = (
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
    "NumberOfFrames",
)  # fmt: skip
KEPT = frozenset({*STUDY, *SERIES, *INSTANCE, "ViewPosition"})
"""Attributes of which the ledger knows what a header says."""

LAST = 0x00409FFF
"""No fact comes after this tag: of a report, all before its tree."""

UNREADABLE = json.dumps(None)
"""Kept of an object whose header cannot be read, so that nobody tries again."""

_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@dataclass(frozen=True, slots=True)
class HeaderFact:
    """What a header says. ``attributes``: DICOM JSON by keyword, None without legible value.

    ``identity``: what a case list shows; None of an object whose facts an older release kept.
    """

    attributes: Mapping[str, dict[str, Any] | None] = field(repr=False)
    patient: Patient = field(repr=False)
    taken: str
    identity: PatientIdentity | None = field(default=None, repr=False)

    def to_json_text(self) -> str:
        """Return what the ledger keeps."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json_text(cls, text: str) -> HeaderFact | None:
        """Return what was kept; None of an object that cannot be read."""
        told = json.loads(text)
        if told is None:
            return None
        shown = told.get("identity")
        return cls(
            told["attributes"],
            Patient(**told["patient"]),
            told["taken"],
            None if shown is None else PatientIdentity(**shown),
        )

    @property
    def accession_number(self) -> str:
        """Accession Number, as far as it is legible."""
        told = self.attributes.get("AccessionNumber") or {}
        return str(next(iter(told.get("Value", ())), "") or "")


def facts_of(dataset: Dataset) -> HeaderFact:
    """Return the facts of a header. Never raises, whatever the values are."""
    attributes = {
        keyword: json_of(dataset, Tag(keyword), "")
        for keyword in sorted(KEPT)
        if Tag(keyword) in dataset
    }
    return HeaderFact(attributes, patient_of(dataset), taken_at(dataset), identity_of(dataset))


def kept_facts(kept: Mapping[Digest, str]) -> dict[Digest, HeaderFact]:
    """Return what the ledger keeps, without the objects that could not be read."""
    facts = ((digest, HeaderFact.from_json_text(text)) for digest, text in kept.items())
    return {digest: fact for digest, fact in facts if fact is not None}


def json_of(dataset: Dataset, tag: BaseTag, bulk: str) -> dict[str, Any] | None:
    """Return an attribute as DICOM JSON; None for a value that is none of its VR, or no JSON.

    Bulk data by its address under ``bulk``.
    """
    single = Dataset()
    try:
        with parsing():
            if tag not in dataset:
                return {"vr": vr_of(tag)}
            element = dataset[tag]
            if element.VR in _BULK:
                return {"vr": element.VR, "BulkDataURI": f"{bulk}/bulk/{tag:08X}"}
            single[tag] = element
            told: dict[str, Any] = single.to_json_dict(bulk_data_threshold=1 << 30)[f"{tag:08X}"]
            # Not a number, infinity and half a surrogate pair have no place in JSON.
            json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    except HeaderUnreadable:
        return None
    return told


def vr_of(tag: BaseTag) -> str:
    """Return the VR of an attribute, the first where the dictionary has several."""
    return dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else "UN"
