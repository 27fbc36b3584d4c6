"""Films that come in by the browser or STOW-RS: into the same spool and ledger as by C-STORE."""

from __future__ import annotations

import io

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.imaging.header import header_of, parsing, transfer_syntax_of
from dicom_node.ledger.interface import Received
from dicom_node.records import Arrival, Origin
from dicom_node.results.modules import IMPLEMENTATION_CLASS_UID
from dicom_node.web.house import House

_PREAMBLE = bytes(128)


def take(house: House, dataset: Dataset, data: bytes, origin: Origin) -> Received:
    """Make ``data``, the Part 10 file of ``dataset``, durable, and note its arrival.

    Raises `HeaderUnreadable`, `DiskFull`, `SpoolUnwritable` and `LedgerUnavailable`; then nothing
    may be answered as stored.
    """
    header = header_of(dataset)
    # Always zero: nothing executable can ride in front of an instance (CVE-2019-11687).
    stored = house.spool.write(_PREAMBLE + data[128:])
    return house.ledger.received(
        Arrival(
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=transfer_syntax_of(dataset),
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
            origin=origin,
        )
    )


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
