"""Refused, silent, of another language, of another name: connections that fail are told apart."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from dicom_node.delivery.association import Peer
from dicom_node.delivery.files import echo
from dicom_node.errors import DeliveryError
from tests.delivery.pacs import ScriptedPacs, listening


def peer(port: int, **changes: object) -> Peer:
    made = Peer("127.0.0.1", port, "PACS", "DICOMNODE", connect_seconds=1.0, answer_seconds=1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def told(peer: Peer) -> str:
    with pytest.raises(DeliveryError) as raised:
        echo(peer)
    return f"{raised.value.message} {raised.value.remedy}"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port; let ``answer`` do what it wants with each connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def until_closed(connection: socket.socket) -> None:
    connection.settimeout(30)
    try:
        while connection.recv(4096):
            pass
    except OSError:
        pass


def test_nothing_listens_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    assert f"nothing listens on port {port}" in told(peer(port))


def test_it_takes_the_connection_and_says_nothing() -> None:
    with answering(until_closed) as port:
        assert "no DICOM answer within 1 s" in told(peer(port))


def test_it_ends_the_connection_and_may_want_tls() -> None:
    with answering(lambda connection: None) as port:
        said = told(peer(port))
    assert "ends the connection without a DICOM answer" in said
    assert "if it wants TLS, set tls = true" in said


def test_a_connection_that_nobody_takes_may_be_a_firewall_s() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003
            one.connect_ex(("127.0.0.1", port))
        said = told(peer(port))
        for one in waiting:
            one.close()
    assert "gives no answer within 1 s" in said
    assert "firewall" in said


def test_a_plain_peer_called_over_tls_is_told_not_to_speak_it() -> None:
    def babble(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"\x07\0\0\0\0\x04\0\0\2\1")

    with answering(babble) as port:
        said = told(peer(port, tls=ssl.create_default_context()))
    assert "does not speak TLS" in said
    assert "tls = false" in said


def test_a_name_that_nobody_knows() -> None:
    assert "the name no-such-host.invalid is not known" in told(
        peer(104, host="no-such-host.invalid")
    )


@pytest.mark.parametrize(
    ("keys", "titles"),
    [
        ({"called": "OTHER", "check_called": True}, ["PACS", "DICOMNODE"]),
        ({"require_calling": ["OTHER"]}, ["DICOMNODE"]),
    ],
)
def test_a_rejection_names_the_titles_that_were_used(
    keys: dict[str, object], titles: list[str]
) -> None:
    pacs = ScriptedPacs()
    with listening(pacs, **keys):  # type: ignore[arg-type]
        said = told(peer(pacs.port))
    assert "rejected" in said
    assert all(title in said for title in titles)
