"""Raw DICOM upper layer bytes (PS3.8 section 9.3), for peers that break the rules."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

VERIFICATION = "1.2.840.10008.1.1"
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def associate_rq(
    calling: bytes = b"MOD1",
    called: bytes = b"DICOMNODE",
    *,
    abstract_syntax: str = COMPUTED_RADIOGRAPHY,
    transfer_syntax: str = EXPLICIT,
    application_context: str = APPLICATION_CONTEXT,
    fill: bytes = b" ",
) -> bytes:
    """Return an A-ASSOCIATE-RQ with one presentation context (id 1)."""
    context = b"\x01\x00\x00\x00" + item(0x30, abstract_syntax.encode())
    context += item(0x40, transfer_syntax.encode())
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
    body = struct.pack(">HH", 1, 0) + called.ljust(16, b" ") + calling.ljust(16, fill)
    body += bytes(32) + item(0x10, application_context.encode())
    body += item(0x20, context) + item(0x50, user)
    return pdu(0x01, body)


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def p_data(content: bytes, *, command: bool, last: bool = True, context: int = 1) -> bytes:
    header = struct.pack(">IBB", len(content) + 2, context, command | last << 1)
    return pdu(0x04, header + content)


def element(group: int, number: int, value: bytes) -> bytes:
    """Return an element in Implicit VR Little Endian."""
    return struct.pack("<HHI", group, number, len(value)) + value


N_EVENT_REPORT_RQ = (
    element(0, 0x0002, b"1.2.840.10008.1.20.1") + element(0, 0x0100, b"\x00\x01")
    + element(0, 0x0110, b"\x01\x00") + element(0, 0x0800, b"\x01\x01")
    + element(0, 0x1000, b"1.2.840.10008.1.20.1.1") + element(0, 0x1002, b"\x01\x00")
)  # fmt: skip
"""Of storage commitment; nobody asked for one."""


def c_store_rq(
    sop_instance_uid: bytes,
    *,
    sop_class_uid: bytes = COMPUTED_RADIOGRAPHY.encode(),
    with_data_set: bool = True,
    message_id: int = 1,
) -> bytes:
    """Return the command set of a C-STORE-RQ (PS3.7 section 9.3.1)."""

    def even(uid: bytes) -> bytes:
        return uid + b"\0" * (len(uid) % 2)

    body = element(0, 0x0002, even(sop_class_uid))
    body += element(0, 0x0100, struct.pack("<H", 0x0001))
    body += element(0, 0x0110, struct.pack("<H", message_id))
    body += element(0, 0x0700, struct.pack("<H", 0))
    body += element(0, 0x0800, struct.pack("<H", 0x0001 if with_data_set else 0x0101))
    body += element(0, 0x1000, even(sop_instance_uid))
    return element(0, 0x0000, struct.pack("<I", len(body))) + body


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    raw = socket.socket()
    raw.bind((address, 0))
    raw.settimeout(30)
    raw.connect(("127.0.0.1", port))
    return raw


def read_pdu(raw: socket.socket) -> tuple[int, bytes]:
    """Return kind and body of the next PDU; (0, b"") once the peer has closed."""
    header = _exactly(raw, 6)
    if len(header) < 6:
        return 0, b""
    kind, _, length = struct.unpack(">BBI", header)
    return kind, _exactly(raw, length)


def _exactly(raw: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        try:
            chunk = raw.recv(count - len(data))
        except ConnectionError:
            return b""
        if not chunk:
            return b""
        data += chunk
    return data


def status_of(body: bytes) -> int:
    """Return the Status (0000,0900) of a response's P-DATA-TF body."""
    at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    return int(struct.unpack("<H", body[at : at + 2])[0])


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
