"""Bytes that are no DICOM, or DICOM at the wrong moment: an abort, and nothing left behind."""

from __future__ import annotations

import struct

import pytest

from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS, closed_within, established, threads_of
from tests.receiving.wire import (
    APPLICATION_CONTEXT,
    COMPUTED_RADIOGRAPHY,
    associate_rq,
    c_store_rq,
    connect,
    element,
    item,
    p_data,
    pdu,
    read_pdu,
)

A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ABORT = 0x02, 0x03, 0x07
NO_DATA_SET = 0x0101


def command(field: int, data_set: int = NO_DATA_SET) -> bytes:
    """Return a command set with this Command Field and no SOP Instance UID."""
    body = element(0, 0x0002, COMPUTED_RADIOGRAPHY.encode() + b"\0")
    body += element(0, 0x0100, struct.pack("<H", field))
    body += element(0, 0x0110, struct.pack("<H", 1))
    body += element(0, 0x0800, struct.pack("<H", data_set))
    return element(0, 0x0000, struct.pack("<I", len(body))) + body


def pdv(length: int, content: bytes) -> bytes:
    return pdu(0x04, struct.pack(">I", length) + content)


def with_version(version: int) -> bytes:
    request = bytearray(associate_rq())
    request[6:8] = struct.pack(">H", version)
    return bytes(request)


ABORTED_AT_ONCE = {
    "PDV of no length": pdv(0, b""),
    "PDV without content": pdv(1, b"\1"),
    "PDV longer than its PDU": pdv(5000, b"\1\3" + bytes(10)),
    "data set before its command": p_data(b"x" * 20, command=False),
    "garbage as command": p_data(b"\xff" * 50, command=True),
    "command without a field": p_data(element(0, 0x0100, b""), command=True),
    "unknown command field": p_data(command(0x4242), command=True),
    "C-ECHO in a storage context": p_data(command(0x0030), command=True),
    "C-FIND in a storage context": p_data(command(0x0020, 1), command=True)
    + p_data(bytes(8), command=False),
    "second A-ASSOCIATE-RQ": associate_rq(),
    "A-ASSOCIATE-AC": pdu(0x02, bytes(68)),
    "A-ASSOCIATE-RJ": pdu(0x03, bytes(4)),
    "A-RELEASE-RP": pdu(0x06, bytes(4)),
    "unknown PDU type": pdu(0x09, bytes(4)),
}

IGNORED_UNTIL_IDLE = {
    "context that was not negotiated": p_data(c_store_rq(b"1.2.3"), command=True, context=77),
    "P-DATA without content": pdu(0x04, b""),
    "C-STORE response": p_data(command(0x8001), command=True),
    "C-CANCEL": p_data(command(0x0FFF), command=True),
    "C-STORE of no instance": p_data(command(0x0001, 1), command=True)
    + p_data(bytes(8), command=False),
}

BEFORE_ASSOCIATION = {
    "A-ASSOCIATE-AC": (pdu(0x02, bytes(68)), A_ABORT),
    "P-DATA": (p_data(b"x" * 10, command=True), A_ABORT),
    "A-RELEASE-RQ": (pdu(0x05, bytes(4)), A_ABORT),
    "request without content": (pdu(0x01, b""), A_ABORT),
    "request with garbage": (pdu(0x01, associate_rq()[6:80] + b"\xff" * 300), A_ABORT),
    "abstract syntax of 200 characters": (associate_rq(abstract_syntax="1." + "2" * 200), A_ABORT),
    "protocol version 0": (with_version(0), A_ASSOCIATE_RJ),
    "protocol version 2": (with_version(2), A_ASSOCIATE_RJ),
    "wrong application context": (associate_rq(application_context="1.2"), A_ASSOCIATE_RJ),
    "abstract syntax that is no UID": (associate_rq(abstract_syntax="no uid!"), A_ASSOCIATE_AC),
    "no presentation context": (
        pdu(
            0x01,
            struct.pack(">HH", 1, 0) + b"DICOMNODE".ljust(16) + b"MOD1".ljust(16) + bytes(32)
            + item(0x10, APPLICATION_CONTEXT.encode())
            + item(0x50, item(0x51, struct.pack(">I", 16384))),
        ),
        A_ASSOCIATE_AC,
    ),
}  # fmt: skip


def check_unharmed(receiver: Receiver) -> None:
    """Nothing of it is an error of ours, and others are served."""
    lines = receiver.log.splitlines()
    assert not [line for line in lines if '"error"' in line or not line.startswith("{")]
    assert receiver.echo() == 0


@pytest.mark.parametrize("name", ABORTED_AT_ONCE)
def test_what_is_no_message_is_answered_with_an_abort(receiver: Receiver, name: str) -> None:
    with established(receiver.port) as raw:
        raw.sendall(ABORTED_AT_ONCE[name])
        assert read_pdu(raw)[0] == A_ABORT
    check_unharmed(receiver)


def test_messages_that_ask_for_nothing_end_with_the_idle_time_out(
    receiver: Receiver,
) -> None:
    raws = [established(receiver.port) for _ in IGNORED_UNTIL_IDLE]
    for raw, content in zip(raws, IGNORED_UNTIL_IDLE.values(), strict=True):
        raw.sendall(content)
    for raw in raws:
        raw.settimeout(LATEST_SECONDS)
        assert read_pdu(raw)[0] == A_ABORT
        raw.close()
    check_unharmed(receiver)


@pytest.mark.parametrize("name", BEFORE_ASSOCIATION)
def test_what_is_no_proper_association_request_gets_its_answer(
    receiver: Receiver, name: str
) -> None:
    content, answer = BEFORE_ASSOCIATION[name]
    with connect(receiver.port) as raw:
        raw.sendall(content)
        assert read_pdu(raw)[0] == answer
    check_unharmed(receiver)


def test_a_request_of_over_256_kilobytes_is_not_read(receiver: Receiver) -> None:
    with connect(receiver.port) as raw:
        raw.sendall(struct.pack(">BBI", 0x01, 0, 2_700_000))
        assert closed_within(raw)
    assert receiver.echo() == 0


def test_no_thread_is_left_of_any_of_it(receiver: Receiver) -> None:
    for content in ABORTED_AT_ONCE.values():
        with established(receiver.port) as raw:
            raw.sendall(content)
    for content, _ in BEFORE_ASSOCIATION.values():
        with connect(receiver.port) as raw:
            raw.sendall(content)
    wait_for(
        lambda: threads_of(receiver.pid) <= receiver.resting_threads, 30, "its threads have ended"
    )
    check_unharmed(receiver)
