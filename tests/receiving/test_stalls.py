"""A peer that stalls, drips, lies about lengths or speaks another language delays nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import (
    LIARS,
    SILENT,
    STRANGERS,
    closed_within,
    established,
    four_gibibytes_within_the_association,
    half_a_data_pdu,
    one_byte,
    patient_server,
    still_open,
    threads_of,
)
from tests.receiving.wire import (
    associate_rq,
    c_store_rq,
    connect,
    p_data,
    read_pdu,
    resident_bytes,
    status_of,
)

DRIP_SECONDS = 0.1

REASONS = {
    **dict.fromkeys(SILENT, "a PDU was not complete in time"),
    **dict.fromkeys(LIARS, "a PDU of 4294967280 bytes is longer than"),
    **dict.fromkeys(STRANGERS, "not a DICOM PDU"),
}


@pytest.mark.parametrize("stall", REASONS, ids=lambda stall: stall.__name__)
def test_a_stalled_peer_is_dropped_and_the_log_says_why(
    receiver: Receiver, stall: Callable[[int], socket.socket]
) -> None:
    before = receiver.log.count(REASONS[stall])
    with stall(receiver.port) as raw:
        assert closed_within(raw)
    assert receiver.log.count(REASONS[stall]) > before
    assert receiver.echo() == 0x0000


def test_others_are_served_while_peers_stall() -> None:
    with patient_server() as port, ExitStack() as opened:
        stalled = [opened.enter_context(stall(port)) for stall in SILENT * 5]
        with established(port) as other:
            other.sendall(p_data(c_store_rq(b"1.2.3"), command=True))
            other.sendall(p_data(b"x", command=False))
            kind, body = read_pdu(other)
        assert (kind, status_of(body)) == (0x04, 0)
        # All are still being waited for: the other waited for none of them.
        assert all(still_open(raw) for raw in stalled)


def test_a_drip_of_bytes_does_not_move_the_deadline(receiver: Receiver) -> None:
    request, sent = associate_rq(), 0
    with connect(receiver.port) as raw:
        # Slower than the deadline allows for all of it, faster than for any byte by itself.
        while sent < len(request) and still_open(raw):
            with suppress(ConnectionError):
                raw.send(request[sent : sent + 1])
            sent += 1
            closed_within(raw, DRIP_SECONDS)
    assert sent < len(request)


def test_twenty_stalled_peers_do_not_take_a_real_sender_s_place(receiver: Receiver) -> None:
    stalled = [one_byte(receiver.port) for _ in range(20)]
    assert receiver.echo() == 0x0000
    assert all(closed_within(raw) for raw in stalled)
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
    assert receiver.echo() == 0x0000
    wait_for(lambda: "too many connections" in receiver.log, 30, "the log says why")
    for raw in raws:
        raw.close()


def test_a_stop_takes_no_longer_for_many_peers(own_receiver: Callable[..., Receiver]) -> None:
    # A message that has begun is waited for while the drain lasts (3 s here), not until its
    # deadline: that is farther off than `stop` waits.
    own = own_receiver(pdu_seconds=250.0)
    own.start()
    raws = [established(own.port) for _ in range(12)]
    raws += [half_a_data_pdu(own.port), one_byte(own.port)]
    assert own.stop() == 0
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
    open_ones: list[socket.socket] = []

    def one_more() -> tuple[int, bytes]:
        raw = connect(receiver.port)
        raw.sendall(associate_rq())
        kind, body = read_pdu(raw)
        if kind == 0x02:
            open_ones.append(raw)
        else:
            raw.close()
        return kind, body

    # Who has just left may still be counted.
    wait_for(lambda: one_more()[0] == 0x02 and len(open_ones) == 16, 30, "16 are in")
    kind, body = one_more()
    assert kind == 0x03
    assert tuple(body[1:4]) == (2, 3, 2)
    for one in open_ones:
        one.close()


def test_health_checks_that_connect_and_leave_leave_nothing_behind(receiver: Receiver) -> None:
    assert receiver.echo() == 0
    before = threads_of(receiver.pid)
    for _ in range(100):
        connect(receiver.port).close()
    wait_for(lambda: threads_of(receiver.pid) <= before + 2, 30, "their threads have ended")
    assert receiver.echo() == 0
