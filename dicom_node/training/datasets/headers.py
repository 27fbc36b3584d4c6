"""What the headers of a source's DICOM films tell, where its tables are silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pydicom

from dicom_node.errors import HeaderUnreadable
from dicom_node.imaging.header import parsing

FACTS = {"view": "ViewPosition", "age": "PatientAge", "sex": "PatientSex"}


def header_facts(path: Path, keywords: Mapping[str, str] = FACTS) -> dict[str, str]:
    """Return the values of some attributes by our names; nothing where no header can be read."""
    try:
        with parsing():
            header = pydicom.dcmread(
                path, force=True, stop_before_pixels=True, specific_tags=[*keywords.values()]
            )
            return {name: str(header.get(key) or "") for name, key in keywords.items()}
    except HeaderUnreadable:
        return {}
