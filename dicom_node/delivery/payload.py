"""In which Transfer Syntax an object leaves: as it is frozen, else the same data set anew.

What is frozen is Explicit VR Little Endian. A picture may leave compressed without loss, another
object in Implicit VR: the same instance under the same UID (PS3.5 section 8 and annex A).
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

_PLAIN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})


def payload_of(
    path: Path, data: bytes, accepted: Collection[str], compression_uid: str | None
) -> Path | Dataset:
    """Return what is to be sent of a frozen object: its file at ``path``, or a data set.

    ``accepted``: the Transfer Syntaxes that the receiver takes for it; ``compression_uid``: the one
    that is wanted most, if any.
    """
    if not _PLAIN.intersection(accepted):
        compression_uid = next(iter(accepted))
    if compression_uid is not None and compression_uid in accepted:
        # Only a site that asks for it loads codecs here, and they see our own pictures alone.
        from dicom_node.imaging.lossless import compressed

        return compressed(pydicom.dcmread(io.BytesIO(data)), compression_uid)
    return path if ExplicitVRLittleEndian in accepted else _implicit(data)


def _implicit(data: bytes) -> Dataset:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)
