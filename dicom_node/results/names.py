"""A result's SOP Instance UID: it follows from all its other bytes, and from what they tell of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pydicom import Dataset

from dicom_node.results.modules import parts_of_file, reissued
from dicom_node.uids import derived_uid

UNNAMED = derived_uid("unnamed")
"""The SOP Instance UID of an object until its bytes have given it its own."""


def named_file(dataset: Dataset, source: Dataset, facts: Sequence[str] = ()) -> tuple[str, bytes]:
    """Return a result's SOP Instance UID, from its other bytes and ``facts``, and its file.

    Raises `IdentityNotPreserved`, see `file_bytes`.
    """
    dataset.SOPInstanceUID = UNNAMED
    begin, *rest = parts_of_file(dataset, source)
    dataset.SOPInstanceUID = uid = name_of([begin, *rest], facts)
    return uid, b"".join([reissued(begin, source, dataset.SOPClassUID, uid), *rest])


def name_of(unnamed: Iterable[bytes], facts: Sequence[str]) -> str:
    """Return the UID of an object that is named `UNNAMED` in its bytes, given in parts."""
    digest = hashlib.sha256()
    for part in unnamed:
        digest.update(part)
    return derived_uid("result", digest.hexdigest(), *facts)
