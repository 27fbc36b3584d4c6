"""A stop lets what has begun finish, and nothing begin: counted, not guessed."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

from dicom_node.dimse.incoming import IN_MEMORY_BYTES
from dicom_node.dimse.underway import Exchange, Underway
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import LATEST_SECONDS, established
from tests.receiving.store_kit import encoded, film
from tests.receiving.wire import associate_rq, c_store_rq, connect, p_data, read_pdu, status_of

A_ABORT, P_DATA = 0x07, 0x04
LONG = 200.0
"""Seconds of a drain that nobody lives to see the end of."""
SIZE = 512


def test_who_stops_waits_for_what_began_and_lets_nothing_begin() -> None:
    underway, over = Underway(), []
    first, second = Exchange(underway), Exchange(underway)
    assert first.begin()
    assert second.begin()
    waits = threading.Thread(target=lambda: over.append(underway.finish(LATEST_SECONDS)))
    waits.start()
    wait_for(lambda: underway.is_closed, LATEST_SECONDS, "it stops")
    assert not first.begin()
    first.end()
    assert over == []
    second.end()
    waits.join()
    assert over == [True]
    assert underway.count == 0


def test_with_an_association_all_its_messages_are_over() -> None:
    underway = Underway()
    exchange = Exchange(underway)
    assert exchange.begin()
    assert exchange.begin()
    exchange.close()
    exchange.end()
    assert underway.count == 0
    assert not exchange.begin()
    assert underway.finish(0)


def test_what_is_never_over_is_waited_for_no_longer_than_told() -> None:
    underway = Underway()
    assert underway.begin()
    assert not underway.finish(0.01)


def stopping(receiver: Receiver) -> None:
    """Tell the receiver to stop and wait until it listens no more."""
    assert receiver.process is not None
    receiver.process.send_signal(signal.SIGTERM)

    def listens_no_more() -> bool:
        try:
            connect(receiver.port).close()
        except OSError:
            return True
        return False

    wait_for(listens_no_more, LATEST_SECONDS, "the receiver listens no more")


def ended(receiver: Receiver) -> int:
    assert receiver.process is not None
    return receiver.process.wait(LATEST_SECONDS)


def store(number: int) -> tuple[bytes, bytes]:
    """Return a C-STORE of a film as PDUs, in two halves; the first is more than stays in memory."""
    made = film(number, SIZE)
    data = encoded(made)
    parts = [data[start : start + 16000] for start in range(0, len(data), 16000)]
    pdus = [p_data(c_store_rq(made.SOPInstanceUID.encode()), command=True)]
    pdus += [p_data(part, command=False, last=part is parts[-1]) for part in parts]
    middle = 1 + IN_MEMORY_BYTES // 16000 + 2
    return b"".join(pdus[:middle]), b"".join(pdus[middle:])


def begun(receiver: Receiver, half: bytes) -> socket.socket:
    """Send the first half of an object and return once its bytes are being written."""
    raw = established(receiver.port)
    raw.sendall(half)
    wait_for(receiver.left_overs, LATEST_SECONDS, "the first half is being written")
    return raw


def test_an_object_that_has_begun_is_taken_and_the_one_behind_it_is_not(
    own_receiver: Callable[..., Receiver],
) -> None:
    receiver = own_receiver(pdu_seconds=LONG, drain_seconds=LONG)
    receiver.start()
    (half, rest), behind = store(1), b"".join(store(2))
    raw, idle = begun(receiver, half), established(receiver.port)
    stopping(receiver)
    raw.sendall(rest + behind)
    kind, body = read_pdu(raw)
    assert (kind, status_of(body)) == (P_DATA, 0x0000)
    assert read_pdu(raw)[0] in {A_ABORT, 0}
    assert ended(receiver) == 0
    (instance,) = receiver.instances()
    assert instance.sop_instance_uid == film(1, SIZE).SOPInstanceUID
    assert receiver.left_overs() == []
    for one in (raw, idle):
        one.close()


def test_who_is_connected_and_sends_nothing_keeps_no_stop_waiting(
    own_receiver: Callable[..., Receiver],
) -> None:
    # A drain of minutes: the test would not live to see its end.
    receiver = own_receiver(pdu_seconds=LONG, drain_seconds=LONG)
    receiver.start()
    raws = [established(receiver.port) for _ in range(4)] + [connect(receiver.port)]
    stopping(receiver)
    assert ended(receiver) == 0
    for raw in raws:
        raw.close()


def test_a_request_that_comes_while_the_node_stops_is_told_to_come_back(
    own_receiver: Callable[..., Receiver],
) -> None:
    receiver = own_receiver(pdu_seconds=LONG, drain_seconds=LONG)
    receiver.start()
    half, rest = store(1)
    raw, late = begun(receiver, half), connect(receiver.port)
    stopping(receiver)
    late.sendall(associate_rq())
    kind, body = read_pdu(late)
    assert (kind, tuple(body[1:4])) == (0x03, (2, 3, 1))
    raw.sendall(rest)
    assert status_of(read_pdu(raw)[1]) == 0x0000
    assert ended(receiver) == 0
    late.close()
    raw.close()


def test_a_peer_that_vanishes_in_the_middle_of_an_object_keeps_no_stop_waiting(
    own_receiver: Callable[..., Receiver],
) -> None:
    receiver = own_receiver(pdu_seconds=LONG, drain_seconds=LONG)
    receiver.start()
    raw = begun(receiver, store(1)[0])
    stopping(receiver)
    raw.close()
    assert ended(receiver) == 0
    assert receiver.instances() == []
    assert receiver.left_overs() == []
