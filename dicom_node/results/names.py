"""A result's SOP Instance UID: it follows from all its other bytes, and from what they tell of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydicom import Dataset

from dicom_node.results.modules import reissued, unchecked_bytes
from dicom_node.uids import derived_uid

UNNAMED = derived_uid("unnamed")
"""The SOP Instance UID of an object until its bytes have given it its own."""


def named_file(dataset: Dataset, source: Dataset, facts: Sequence[str] = ()) -> tuple[str, bytes]:
    """Return a result's SOP Instance UID, from its other bytes and ``facts``, and its file.

    Raises `IdentityNotPreserved`, see `file_bytes`.
    """
    dataset.SOPInstanceUID = UNNAMED
    data = unchecked_bytes(dataset, source)
    dataset.SOPInstanceUID = uid = name_of(data, facts)
    return uid, reissued(data, source, dataset.SOPClassUID, uid)


def name_of(unnamed: bytes, facts: Sequence[str]) -> str:
    """Return the UID of an object that is named `UNNAMED` in its bytes."""
    return derived_uid("result", hashlib.sha256(unnamed).hexdigest(), *facts)
