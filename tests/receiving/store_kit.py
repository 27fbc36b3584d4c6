"""Small films, and a C-STORE of them as bytes."""

from __future__ import annotations

import io

import pydicom
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_node.imaging.phantom import Encoding, phantom_dataset
from tests.receiving.conftest import Receiver
from tests.receiving.wire import (
    associate_rq,
    connect,
    p_data,
    read_pdu,
    status_of,
)


def film(seed: int, size: int = 64) -> Dataset:
    """Return a small film as it is after a round trip through a file."""
    buffer = io.BytesIO()
    made = phantom_dataset(seed=seed, rows=size, columns=size, encoding=Encoding(kind="CR"))
    made.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, Dataset({tag: dataset[tag] for tag in dataset.keys()}))  # noqa: SIM118
    return buffer.getvalue()


def raw_store(receiver: Receiver, command: bytes, data: bytes | None, seconds: float = 30.0) -> int:
    """Send a C-STORE as bytes and return the status."""
    with connect(receiver.port) as raw:
        raw.settimeout(seconds)
        raw.sendall(associate_rq())
        assert read_pdu(raw)[0] == 0x02
        raw.sendall(p_data(command, command=True))
        for start in range(0, len(data or b""), 16000):
            part = (data or b"")[start : start + 16000]
            raw.sendall(p_data(part, command=False, last=start + 16000 >= len(data or b"")))
        kind, body = read_pdu(raw)
        assert kind == 0x04
        return status_of(body)
