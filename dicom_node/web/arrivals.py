"""A film that a person dropped on a page, as the file that any other film is when it comes."""

from __future__ import annotations

import io

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.imaging.header import parsing, transfer_syntax_of
from dicom_node.uids import IMPLEMENTATION_CLASS_UID


def file_bytes_of(dataset: Dataset) -> bytes:
    """Return a data set as a Part 10 file in the transfer syntax it has. Raises `ImageError`."""
    syntax = transfer_syntax_of(dataset) or ExplicitVRLittleEndian
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta = meta
    buffer = io.BytesIO()
    # Values that break their VR stay as they came.
    with parsing():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
