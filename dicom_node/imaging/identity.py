"""Whose film it is: what a case list shows and is searched by. Never logged, never in a file name.

Kept apart from `header.py`, whose values may be logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from pydicom import Dataset

from dicom_node.imaging.received import stored_bytes
from dicom_node.imaging.values import text

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """Patient and study as the film names them, decoded, as text; "" where absent.

    ``patient_name``: the parts of the first group with a caret between them (PS3.5 6.2.1), then the
    other groups after a "="; ``study_date``: eight digits, else "".
    """

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    study_date: str = ""
    study_description: str = field(default="", repr=False)


_KEYWORDS = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
}


def identity_of(dataset: Dataset) -> PatientIdentity:
    """Return whose film a data set is. Never raises, whatever the values are."""
    said = {each.name: _shown(dataset, _KEYWORDS[each.name]) for each in fields(PatientIdentity)}
    date = said["study_date"]
    said["study_date"] = date if len(date) == 8 and date.isdigit() else ""
    return PatientIdentity(**said)


def _shown(dataset: Dataset, keyword: str) -> str:
    """Return a text for people: legible also where its declared character set is not its own."""
    stored, said = stored_bytes(dataset, keyword), text(dataset, keyword)
    if stored is not None and "\N{REPLACEMENT CHARACTER}" in said:
        try:
            said = stored.decode("utf-8")
        except UnicodeDecodeError:
            said = stored.decode("latin-1")
    return said.strip()[:_LONGEST]
