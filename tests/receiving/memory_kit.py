"""Peers that want a receiver's memory, each in another way, and how much of it they got."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.receiving.hostile import established
from tests.receiving.wire import (
    APPLICATION_CONTEXT,
    COMPUTED_RADIOGRAPHY,
    EXPLICIT,
    c_store_rq,
    connect,
    element,
    item,
    p_data,
    pdu,
    read_pdu,
)

PDU_BYTES = 131_072
"""What the receiver offers by default (`node.max_pdu_bytes`)."""

Peer = Callable[[int, int], socket.socket]
"""Connects to a port, as the peer of a number, and takes what it can get."""


def peak_bytes(pid: int) -> int:
    """Return the most resident memory a process had since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def forget_peak(pid: int) -> None:
    """Begin anew with `peak_bytes` (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def chunk(size: int = PDU_BYTES - 6) -> bytes:
    """Return a PDU with a piece of a data set."""
    return p_data(bytes(size), command=False, last=False)


def a_huge_object_slowly(port: int, number: int) -> socket.socket:
    raw = established(port)
    raw.sendall(p_data(c_store_rq(f"1.2.{number}".encode()), command=True) + chunk() * 40)
    raw.sendall(chunk()[:-1])
    return raw


def an_object_just_small_enough_for_memory(port: int, number: int) -> socket.socket:
    raw = established(port)
    raw.sendall(p_data(c_store_rq(f"1.2.{number}".encode()), command=True))
    raw.sendall(chunk(120_000) * 2 + chunk()[:-1])
    return raw


def a_command_set_without_end(port: int, number: int) -> socket.socket:
    raw = established(port)
    _pour(raw, p_data(element(0, 0x0902, b"ab") * 12_000, command=True, last=False) * 100)
    return raw


def a_command_set_of_many_elements(port: int, number: int) -> socket.socket:
    raw = established(port)
    command = c_store_rq(f"1.2.{number}".encode())
    many = b"".join(element(0, 0x2000 + 2 * place, b"") for place in range(12_000))
    _pour(raw, p_data(command + many, command=True) + chunk()[:-1])
    return raw


def pdus_of_many_fragments(port: int, number: int) -> socket.socket:
    raw = established(port)
    fragment = struct.pack(">IBB", 2, 1, 0)
    body = fragment * ((PDU_BYTES) // len(fragment))
    _pour(raw, p_data(c_store_rq(b"1.2.3"), command=True) + pdu(0x04, body) * 20)
    return raw


def an_association_of_many_items(port: int, number: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(association_of(262_000))
    with contextlib.suppress(OSError):
        read_pdu(raw)
    return raw


def association_of(size: int) -> bytes:
    """Return an A-ASSOCIATE-RQ whose user information is filled with small items."""
    context = b"\x01\x00\x00\x00" + item(0x30, COMPUTED_RADIOGRAPHY.encode())
    context += item(0x40, EXPLICIT.encode())
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
    role = item(0x54, struct.pack(">H", 4) + b"1.2\0" + b"\1\1")
    user += role * ((65_500 - len(user)) // len(role))
    body = struct.pack(">HH", 1, 0) + b"DICOMNODE".ljust(16) + b"MOD1".ljust(16) + bytes(32)
    body += item(0x10, APPLICATION_CONTEXT.encode()) + item(0x20, context)
    many = item(0x20, b"\x03\x00\x00\x00" + item(0x30, b"1.2") + item(0x40, b"1.2") * 4)
    body += many * ((size - len(body) - len(user)) // len(many))
    return pdu(0x01, body + item(0x50, user))


def _pour(raw: socket.socket, data: bytes) -> None:
    raw.settimeout(5)
    with contextlib.suppress(OSError):  # it was cut off, or nobody reads
        raw.sendall(data)


HOSTILE: Sequence[Peer] = (
    a_huge_object_slowly,
    an_object_just_small_enough_for_memory,
    a_command_set_without_end,
    a_command_set_of_many_elements,
    pdus_of_many_fragments,
    an_association_of_many_items,
)
