"""A peer that stalls, drips, lies about lengths or speaks another language delays nobody."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.receiving.conftest import PDU_SECONDS, Receiver
from tests.receiving.wire import (
    associate_rq,
    c_store_rq,
    connect,
    p_data,
    read_pdu,
    resident_bytes,
)

MARGIN_SECONDS = 3.0


def closed_within(raw: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection in time (it may send an A-ABORT first)."""
    raw.settimeout(seconds)
    try:
        while raw.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def established(port: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(associate_rq())
    kind, _ = read_pdu(raw)
    assert kind == 0x02
    return raw


def one_byte(port: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(b"\x01")
    return raw


def half_an_association_request(port: int) -> socket.socket:
    raw = connect(port)
    request = associate_rq()
    raw.sendall(request[: len(request) // 2])
    return raw


def half_a_data_pdu(port: int) -> socket.socket:
    raw = established(port)
    message = p_data(c_store_rq(b"1.2.3"), command=True)
    raw.sendall(message[: len(message) // 2])
    return raw


def four_gibibytes_before_the_association(port: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(struct.pack(">BBI", 0x01, 0, 0xFFFFFFF0) + bytes(4096))
    return raw


def four_gibibytes_within_the_association(port: int) -> socket.socket:
    raw = established(port)
    raw.sendall(struct.pack(">BBI", 0x04, 0, 0xFFFFFFF0) + bytes(4096))
    return raw


def a_web_browser(port: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return raw


def a_tls_hello_on_the_plain_port(port: int) -> socket.socket:
    raw = connect(port)
    raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))
    return raw


STALLS = [
    one_byte,
    half_an_association_request,
    half_a_data_pdu,
    four_gibibytes_before_the_association,
    four_gibibytes_within_the_association,
    a_web_browser,
    a_tls_hello_on_the_plain_port,
]


@pytest.mark.parametrize("stall", STALLS, ids=lambda stall: stall.__name__)
def test_a_stalled_peer_is_dropped_by_its_deadline_while_others_work_on(
    receiver: Receiver, stall: Callable[[int], socket.socket]
) -> None:
    raw = stall(receiver.port)
    started = time.monotonic()
    assert receiver.echo() == 0x0000
    assert time.monotonic() - started < 1.0
    assert closed_within(raw, PDU_SECONDS + MARGIN_SECONDS)
    raw.close()


def test_a_drip_of_bytes_does_not_move_the_deadline(receiver: Receiver) -> None:
    raw = connect(receiver.port)
    request = associate_rq()
    started, sent = time.monotonic(), 0
    while time.monotonic() - started < PDU_SECONDS + MARGIN_SECONDS:
        try:
            raw.send(request[sent : sent + 1])
        except ConnectionError:
            break
        sent += 1
        time.sleep(0.1)
    assert time.monotonic() - started < PDU_SECONDS + MARGIN_SECONDS
    assert sent < len(request)
    raw.close()


def test_twenty_stalled_peers_do_not_take_a_real_sender_s_place(receiver: Receiver) -> None:
    stalled = [one_byte(receiver.port) for _ in range(20)]
    assert receiver.echo() == 0x0000
    assert all(closed_within(raw, PDU_SECONDS + MARGIN_SECONDS) for raw in stalled)
    for raw in stalled:
        raw.close()


def test_a_claimed_length_of_four_gibibytes_takes_no_memory(receiver: Receiver) -> None:
    before = resident_bytes(receiver.pid)
    raw = four_gibibytes_within_the_association(receiver.port)
    try:
        for _ in range(200):
            raw.sendall(bytes(65536))
    except ConnectionError:
        pass
    raw.close()
    assert resident_bytes(receiver.pid) - before < 10_000_000


def test_an_object_beyond_the_limit_is_cut_off(receiver: Receiver) -> None:
    before = resident_bytes(receiver.pid)
    raw = established(receiver.port)
    raw.sendall(p_data(c_store_rq(b"1.2.3"), command=True))
    chunk = p_data(bytes(16_000), command=False, last=False)
    with pytest.raises(ConnectionError):
        raw.sendall(chunk * 12_000)
    raw.close()
    assert resident_bytes(receiver.pid) - before < 80_000_000
    assert receiver.left_overs() == []


def test_a_command_without_end_is_cut_off(receiver: Receiver) -> None:
    before = resident_bytes(receiver.pid)
    raw = established(receiver.port)
    chunk = p_data(bytes(16_000), command=True, last=False)
    with pytest.raises(ConnectionError):
        raw.sendall(chunk * 6_000)
    raw.close()
    assert resident_bytes(receiver.pid) - before < 20_000_000
    assert "a command set of over" in receiver.log


def test_three_hundred_connections_from_one_address_leave_room_for_others(
    receiver: Receiver,
) -> None:
    raws = [connect(receiver.port, "127.0.0.3") for _ in range(300)]
    started = time.monotonic()
    assert receiver.echo() == 0x0000
    assert time.monotonic() - started < 2.0
    assert "too many connections" in receiver.log
    for raw in raws:
        raw.close()


def test_a_stop_takes_no_longer_for_many_peers(own_receiver: Callable[..., Receiver]) -> None:
    own = own_receiver()
    own.start()
    raws = [established(own.port) for _ in range(12)]
    raws += [half_a_data_pdu(own.port), one_byte(own.port)]
    # A message that has begun is waited for while the drain lasts (3 s here), no longer.
    started = time.monotonic()
    assert own.stop() == 0
    assert time.monotonic() - started < 15.0
    for raw in raws:
        raw.close()


def test_requests_sent_without_waiting_wait_on_the_wire_not_in_memory(receiver: Receiver) -> None:
    before = resident_bytes(receiver.pid)
    raw = established(receiver.port)
    command = p_data(c_store_rq(b"1.2.3"), command=True)
    data = p_data(bytes(16_000), command=False, last=False) * 60
    data += p_data(bytes(16_000), command=False)

    def send_all() -> None:
        try:
            for _ in range(60):
                raw.sendall(command + data)
        except OSError:
            return

    sender = threading.Thread(target=send_all)
    sender.start()
    peak = before
    while sender.is_alive():
        peak = max(peak, resident_bytes(receiver.pid))
        sender.join(0.02)
    raw.close()
    assert peak - before < 40_000_000


def test_more_associations_than_allowed_are_told_to_come_back(receiver: Receiver) -> None:
    open_ones = [established(receiver.port) for _ in range(16)]
    raw = connect(receiver.port)
    raw.sendall(associate_rq())
    kind, body = read_pdu(raw)
    assert kind == 0x03
    assert tuple(body[1:4]) == (2, 3, 2)
    for one in [*open_ones, raw]:
        one.close()


def test_health_checks_that_connect_and_leave_leave_nothing_behind(receiver: Receiver) -> None:
    def threads() -> int:
        return len(list(Path(f"/proc/{receiver.pid}/task").iterdir()))

    assert receiver.echo() == 0
    before = threads()
    for _ in range(100):
        connect(receiver.port).close()
    deadline = time.monotonic() + 20
    while threads() > before + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threads() <= before + 2
    assert receiver.echo() == 0
