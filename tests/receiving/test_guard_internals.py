"""One test for each internal of pynetdicom that the guard leans on: an upgrade fails here first."""

from __future__ import annotations

import inspect
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pynetdicom import AE, dul, fsm, timer, transport
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.sop_class import Verification

from dicom_node.dimse.entity import use_monotonic_timers
from dicom_node.dimse.guard import (
    GuardedServer,
    GuardedSocket,
    Limits,
    _with_plain_titles,
)
from dicom_node.dimse.messages import CountedAssociation, GuardedMessages
from tests.node.peers import wait_for
from tests.receiving.wire import associate_rq, connect, p_data, read_pdu

LIMITS = Limits(
    max_pdu_bytes=16384,
    max_object_bytes=1_000_000,
    pdu_seconds=1.0,
    negotiation_seconds=1.0,
    max_connections=4,
    max_connections_per_address=3,
)


@pytest.fixture
def server() -> Iterator[GuardedServer]:
    entity = AE("DICOMNODE")
    entity.add_supported_context(Verification)
    made: Any = entity.make_server(
        ("127.0.0.1", 0), server_class=GuardedServer, limits=LIMITS, evt_handlers=[]
    )
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    for association in entity.active_associations:
        # Aborting one that was never negotiated raises in pynetdicom's own thread.
        if association.is_established:
            association.abort()


def accepted(server: GuardedServer) -> tuple[socket.socket, Association]:
    raw = connect(server.server_address[1])
    raw.sendall(associate_rq(abstract_syntax=Verification))
    assert read_pdu(raw)[0] == 0x02
    (association,) = wait_for(lambda: server.ae.active_associations, 30, "an association is open")
    return raw, association


def test_make_server_passes_what_it_does_not_know_to_the_server_class(
    server: GuardedServer,
) -> None:
    assert server.limits is LIMITS


def test_the_handler_s_association_carries_its_socket_wrapper(server: GuardedServer) -> None:
    raw, association = accepted(server)
    wrapper = association.dul.socket
    assert isinstance(wrapper, GuardedSocket)
    assert wrapper.assoc is association
    assert wrapper._is_connected
    raw.close()


def test_the_queue_and_the_unfinished_message_of_an_association_can_be_looked_at(
    server: GuardedServer,
) -> None:
    raw, association = accepted(server)
    assert association.dimse.msg_queue.qsize() == 0
    assert association.dimse.message is None
    raw.sendall(p_data(b"x" * 30, command=True, last=False))
    message = wait_for(lambda: association.dimse.message, 30, "a message has begun")
    wait_for(lambda: message.encoded_command_set.tell() == 30, 30, "its bytes are counted")
    assert message.data_set.tell() == 0
    raw.close()


def test_messages_come_through_the_provider_that_we_replace(server: GuardedServer) -> None:
    raw, association = accepted(server)
    assert isinstance(association.dimse, GuardedMessages)
    assert "dul.assoc.dimse.receive_primitive(" in inspect.getsource(fsm.DT_2)
    assert "def receive_primitive(self, primitive" in inspect.getsource(DIMSEServiceProvider)
    raw.close()


def test_the_next_message_is_asked_for_once_the_last_was_answered(server: GuardedServer) -> None:
    raw, association = accepted(server)
    source = inspect.getsource(Association._run_reactor)
    asked = source.index("self.dimse.get_msg(block=False)")
    assert asked < source.index("self._serve_request(msg")
    assert source.count("_serve_request") == source.count("get_msg") == 1
    # What is counted ends with the thread, whatever ended it.
    assert isinstance(association, CountedAssociation)
    assert "self.run()" in inspect.getsource(threading.Thread._bootstrap_inner)
    raw.close()


def test_an_invalid_pdu_event_ends_the_association_with_an_abort(server: GuardedServer) -> None:
    raw, association = accepted(server)
    association.dul.event_queue.put("Evt19")
    assert read_pdu(raw)[0] == 0x07
    raw.close()


def test_a_pdu_is_read_as_six_bytes_and_then_its_length() -> None:
    source = inspect.getsource(dul.DULServiceProvider._read_pdu_data)
    assert "self.socket.recv(6)" in source
    assert "self.socket.recv(pdu_length)" in source


def test_an_oserror_while_reading_ends_the_connection_and_not_the_thread_alone() -> None:
    source = inspect.getsource(dul.DULServiceProvider._read_pdu_data)
    assert source.count("except (OSError, TimeoutError)") == 2
    assert source.count('"Evt17"') >= 3


def test_the_server_accepts_connections_where_we_replace_it() -> None:
    assert callable(transport.AssociationServer.get_request)
    assert callable(transport.ThreadedAssociationServer.process_request_thread)
    assert isinstance(transport.AssociationServer.ssl_context, property)
    assert callable(transport.RequestHandler._create_association)


def test_timers_take_the_time_from_their_module() -> None:
    use_monotonic_timers()
    assert timer.time.time is time.monotonic
    running = timer.Timer(0.05)
    running.start()
    wait_for(lambda: running.expired, 30, "the timer expires")


def test_beyond_the_limit_of_an_address_connections_are_closed(server: GuardedServer) -> None:
    dropped: list[tuple[str, str]] = []
    server.on_drop = lambda address, reason: dropped.append((address, reason))
    raws = [connect(server.server_address[1]) for _ in range(5)]
    wait_for(lambda: ("127.0.0.1", "too many connections") in dropped, 30, "one is turned away")
    for raw in raws:
        raw.close()


def test_titles_padded_with_nul_are_titles_and_control_characters_are_not() -> None:
    body = bytearray(associate_rq(b"MOD1", fill=b"\0")[6:])
    assert bytes(_with_plain_titles(body)[20:36]) == b"MOD1" + b" " * 12
    body = bytearray(associate_rq(b"MOD1\n")[6:])
    assert bytes(_with_plain_titles(body)[20:36]) == b"MOD1?" + b" " * 11
