"""Peers that stall, drip or lie about lengths, and what became of their connections."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt

from dicom_node.dimse.guard import GuardedServer, Limits
from tests.node.peers import wait_for
from tests.receiving.wire import (
    COMPUTED_RADIOGRAPHY,
    VERIFICATION,
    associate_rq,
    c_store_rq,
    connect,
    p_data,
    read_pdu,
)

LATEST_SECONDS = 30.0
"""No promise, only an end: what has not happened by then will not happen."""


def closed_within(raw: socket.socket, seconds: float = LATEST_SECONDS) -> bool:
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


def still_open(raw: socket.socket) -> bool:
    """Whether the other side holds the connection and has said nothing."""
    raw.setblocking(False)  # noqa: FBT003
    try:
        raw.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


@contextmanager
def patient_server(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Yield the port of a guarded server in this process whose deadlines nobody lives to see."""
    entity = AE("DICOMNODE")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 600
    entity.maximum_associations = 1000
    entity.add_supported_context(COMPUTED_RADIOGRAPHY)
    entity.add_supported_context(VERIFICATION)
    limits = Limits(
        max_pdu_bytes=16384, max_object_bytes=1_000_000, pdu_seconds=600.0,
        negotiation_seconds=600.0, max_connections=64, max_connections_per_address=64,
    )  # fmt: skip
    made: Any = entity.make_server(
        ("127.0.0.1", 0), server_class=GuardedServer, limits=limits, ssl_context=tls,
        evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)],
    )  # fmt: skip
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield int(made.server_address[1])
    finally:
        made.shutdown()
        thread.join()


def connections_to(port: int) -> int:
    """Return how many TCP connections somebody on this machine holds open at ``port``."""
    open_states = {"01", "03", "08"}  # ESTABLISHED, SYN_RECV, CLOSE_WAIT
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        row[1].endswith(f":{port:04X}") and row[3] in open_states for row in rows
    )  # fmt: skip


def threads_of(pid: int) -> int:
    """Return the number of threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def wait_until_alone(port: int) -> None:
    """Wait until nobody is connected to ``port``: the next test finds no peers of this one."""
    wait_for(lambda: not connections_to(port), LATEST_SECONDS, "no connection is left")


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


SILENT = [one_byte, half_an_association_request, half_a_data_pdu]
LIARS = [four_gibibytes_before_the_association, four_gibibytes_within_the_association]
STRANGERS = [a_web_browser, a_tls_hello_on_the_plain_port]
