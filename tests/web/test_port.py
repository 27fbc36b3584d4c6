"""The pages' port under peers that say nothing, say it slowly, or do not listen."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from dicom_node.web.app import create_app
from dicom_node.web.server import Deadlines
from tests.web.conftest import PASSWORD, Site, running

SILENT = 200
SECONDS = 30.0
HALF = b"GET /cases HTTP/1.1\r\nHost: localhost\r\n"
BODY = (
    b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)
SHORT = Deadlines(header_seconds=0.3, body_seconds=0.3, answer_seconds=0.3, sweep_seconds=0.05)
Connect = Callable[[str], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:

        def to(address: str) -> socket.socket:
            host, _, port = address.removeprefix("http://").partition(":")
            return opened.enter_context(socket.create_connection((host, int(port)), SECONDS))

        yield to


def is_dropped(peer: socket.socket) -> bool:
    """Wait until the node hangs up."""
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize("said", [b"", b"G", HALF, BODY, BODY + b"name=reader"])
def test_a_peer_that_does_not_go_on_is_dropped(site: Site, connect: Connect, said: bytes) -> None:
    with running(create_app(site.house), SHORT) as address:
        peer = connect(address)
        peer.sendall(said)
        assert is_dropped(peer)


def test_a_peer_that_does_not_go_on_after_its_first_request_is_dropped(
    site: Site, connect: Connect
) -> None:
    with running(create_app(site.house), SHORT) as address:
        peer = connect(address)
        peer.sendall(HALF + b"\r\n")
        assert peer.recv(1000).startswith(b"HTTP/1.1 303")
        peer.sendall(HALF)
        assert is_dropped(peer)


def test_a_body_that_drips_is_dropped_and_one_that_flows_is_read(
    site: Site, connect: Connect
) -> None:
    slow = Deadlines(body_seconds=0.2, body_bytes=100_000, sweep_seconds=0.05)
    with running(create_app(site.house), slow) as address:
        peer = connect(address)
        peer.sendall(BODY)
        dropped = False
        while not dropped:
            try:
                peer.sendall(b"x")
                peer.settimeout(0.1)
                dropped = peer.recv(1000) == b""
            except TimeoutError:
                continue
            except OSError:
                dropped = True
        form = {"name": "reader", "password": PASSWORD, "more": "x" * 900_000}
        assert httpx.post(f"{address}/sign-in", data=form, timeout=SECONDS).status_code == 303


def test_a_peer_that_does_not_read_its_answer_is_dropped(site: Site, connect: Connect) -> None:
    site.receive(1)
    with running(create_app(site.house), SHORT) as address:
        peer = connect(address)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cookie = httpx.post(f"{address}/sign-in", data={"name": "reader", "password": PASSWORD})
        header = f"Cookie: {cookie.headers['set-cookie'].partition(';')[0]}\r\n\r\n".encode()
        ask = b"GET /films/1/pixels HTTP/1.1\r\nHost: localhost\r\n" + header
        peer.settimeout(SECONDS)
        with pytest.raises(ConnectionError):
            peer.sendall(ask * 100_000)


def test_pages_are_served_while_very_many_connections_say_nothing(
    site: Site, connect: Connect
) -> None:
    few = Deadlines(connections=40)
    with running(create_app(site.house), few) as address:
        silent = [connect(address) for _ in range(SILENT)]
        for number, peer in enumerate(silent):
            if number % 2:
                try:
                    peer.sendall(HALF)
                except OSError:
                    continue
        for _ in range(10):
            answer = httpx.get(f"{address}/sign-in", timeout=SECONDS)
            assert answer.status_code == 200
        # The oldest had to go, at once.
        assert all(map(is_dropped, silent[: SILENT - 40]))


def test_whoever_is_being_served_keeps_his_place(site: Site, connect: Connect) -> None:
    few = Deadlines(connections=4)
    with running(create_app(site.house), few) as address, ThreadPoolExecutor(4) as pool:
        peer = connect(address)
        peer.sendall(BODY + b"x" * 500)
        flood = [pool.submit(httpx.get, f"{address}/sign-in", timeout=SECONDS) for _ in range(12)]
        _ = [connect(address) for _ in range(20)]
        peer.sendall(b"x" * 500)
        assert peer.recv(100).startswith(b"HTTP/1.1 4")
        done = [each.exception() is None for each in flood]
        assert any(done)
