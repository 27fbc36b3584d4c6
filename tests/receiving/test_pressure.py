"""Peers that send without waiting, do not read, or come in crowds: each limit shown by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from dicom_node.dimse.guard import GuardedServer, Limits
from tests.node.peers import wait_for
from tests.receiving.conftest import Receiver
from tests.receiving.hostile import half_a_data_pdu, half_an_association_request
from tests.receiving.wire import (
    COMPUTED_RADIOGRAPHY,
    N_EVENT_REPORT_RQ,
    associate_rq,
    c_store_rq,
    connect,
    element,
    p_data,
    read_pdu,
    status_of,
)

LIMITS = Limits(
    max_pdu_bytes=16384,
    max_object_bytes=1_000_000,
    pdu_seconds=1.5,
    negotiation_seconds=1.5,
    max_connections=64,
    max_connections_per_address=3,
)
FEW_BYTES = 2048
C_ECHO_RQ = (
    element(0, 0x0002, b"1.2.840.10008.1.1\0") + element(0, 0x0100, b"\x30\x00")
    + element(0, 0x0110, b"\x01\x00") + element(0, 0x0800, b"\x01\x01")
)  # fmt: skip


@dataclass
class Door:
    """A guarded server in this process whose C-STORE waits until it is let go."""

    server: GuardedServer
    let_go: threading.Event = field(default_factory=threading.Event)

    def enter(self, address: str = "127.0.0.1", **keys: str) -> tuple[socket.socket, Association]:
        before = set(self.server.ae.active_associations)
        raw = connect(self.server.server_address[1], address)
        raw.sendall(associate_rq(**keys))  # type: ignore[arg-type]
        assert read_pdu(raw)[0] == 0x02
        new = [one for one in self.server.ae.active_associations if one not in before]
        return raw, new[0]


@pytest.fixture
def door() -> Iterator[Door]:
    entity = AE("DICOMNODE")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.add_supported_context(COMPUTED_RADIOGRAPHY)
    entity.add_supported_context(Verification)
    made: Any = entity.make_server(
        ("127.0.0.1", 0),
        server_class=GuardedServer,
        limits=LIMITS,
        evt_handlers=[(evt.EVT_C_STORE, lambda _: (opened.let_go.wait(30), 0)[1])],
    )
    opened = Door(made)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield opened
    opened.let_go.set()
    made.shutdown()
    thread.join()
    for association in entity.active_associations:
        # Aborting one that was never negotiated raises in pynetdicom's own thread.
        if association.is_established:
            association.abort()


def test_while_one_request_is_worked_on_a_sender_that_does_not_wait_is_held_up(door: Door) -> None:
    raw, association = door.enter()
    store = p_data(c_store_rq(b"1.2.3"), command=True)
    store += p_data(bytes(16_000), command=False, last=False) * 50
    store += p_data(bytes(16_000), command=False)
    everything, sent = memoryview(store * 60), 0
    raw.settimeout(1.0)
    try:
        while sent < len(everything):
            sent += raw.send(everything[sent : sent + 65536])
    except TimeoutError:
        pass
    # What the sender got rid of lies in the buffers of both sockets, and one request in the queue.
    assert association.dimse.msg_queue.qsize() <= 1
    assert sent < len(everything) / 2
    door.let_go.set()
    raw.settimeout(30)
    kind, body = read_pdu(raw)
    assert (kind, status_of(body)) == (0x04, 0)
    raw.close()


def test_a_peer_that_never_reads_its_answers_is_given_up(door: Door) -> None:
    raw, association = door.enter(abstract_syntax=Verification)
    wrapper: Any = association.dul.socket
    wrapper.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW_BYTES)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW_BYTES)
    raw.setblocking(False)  # noqa: FBT003
    echo = p_data(element(0, 0x0000, b"\x38\x00\x00\x00") + C_ECHO_RQ, command=True)

    def gone() -> bool:
        try:
            raw.send(echo * 100)
        except BlockingIOError:
            pass
        except ConnectionError:
            return True
        return not association.is_alive()

    wait_for(gone, 30, "the connection is closed")
    raw.close()


def test_a_crowd_from_one_address_is_turned_away_and_another_address_is_heard(door: Door) -> None:
    dropped: list[tuple[str, str]] = []
    door.server.on_drop = lambda address, reason: dropped.append((address, reason))
    crowd = [connect(door.server.server_address[1]) for _ in range(6)]
    wait_for(lambda: len(dropped) >= 3, 30, "three of six are turned away")
    assert set(dropped) == {("127.0.0.1", "too many connections")}
    raw, _ = door.enter("127.0.0.2")
    for one in [*crowd, raw]:
        one.close()


def test_an_answer_does_not_wait_for_the_peer_s_acknowledgement(door: Door) -> None:
    raw, association = door.enter()
    wrapper: Any = association.dul.socket
    assert wrapper.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    raw.close()


def test_a_stalled_peer_makes_a_stop_no_longer_than_the_drain(
    own_receiver: Callable[..., Receiver],
) -> None:
    # The PDU's deadline is farther off than `stop` waits; the drain is 3 s here.
    receiver = own_receiver(pdu_seconds=250.0)
    receiver.start()
    raws = [half_a_data_pdu(receiver.port), half_an_association_request(receiver.port)]
    assert receiver.echo() == 0
    assert receiver.stop() == 0
    for raw in raws:
        raw.close()


def test_two_hundred_reports_at_once_are_answered_one_after_the_other(door: Door) -> None:
    raw, association = door.enter(abstract_syntax=Verification)
    let_go, serve = threading.Event(), association._serve_request
    at_once: list[int] = []
    served = threading.BoundedSemaphore(1)

    def slowly(request: Any, context_id: int) -> None:
        at_once.append(served.acquire(blocking=False))
        let_go.wait(30)
        serve(request, context_id)
        served.release()

    association._serve_request = slowly  # type: ignore[method-assign]
    before = threading.active_count()
    raw.sendall(p_data(N_EVENT_REPORT_RQ, command=True) * 200)
    wait_for(lambda: at_once and association.dimse.msg_queue.qsize() == 1, 30, "they wait")
    assert threading.active_count() == before
    let_go.set()
    for _ in range(200):
        assert read_pdu(raw)[0] == 0x04
    assert at_once == [True] * 200
    raw.close()
