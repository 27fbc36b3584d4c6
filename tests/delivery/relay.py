"""A slow line to a PACS: bytes towards it pass at a chosen rate, or stop for good."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Rate = Callable[[int], float]
"""From how many bytes have passed to bytes a second; 0: nothing passes any more."""

_FULL_SPEED = 1e9


def stops_after(size_bytes: int) -> Rate:
    """Return the rate of a line that freezes once ``size_bytes`` have passed."""
    return lambda passed: _FULL_SPEED if passed < size_bytes else 0


def steady(bytes_per_second: float) -> Rate:
    """Return the rate of a line that is as slow all the time."""
    return lambda _passed: bytes_per_second


@contextmanager
def slow_line(port: int, rate: Rate) -> Iterator[int]:
    """Yield the port of a line to ``port`` on loopback."""
    closed = threading.Event()
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(target: Callable[..., None], *arguments: object) -> None:
        threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        threads[-1].start()

    def forth(client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while not closed.is_set():
                now = rate(passed)
                if not now:
                    closed.wait()
                    return
                data = client.recv(min(65_536, max(1, int(now / 20))))
                if not data:
                    break
                server.sendall(data)
                passed += len(data)
                if now < _FULL_SPEED:
                    time.sleep(len(data) / now)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def back(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                open_sockets.extend((client, server))
                start(forth, client, server)
                start(back, client, server)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small, so that what the sender is rid of is not far from what has passed.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        start(accept, listener)
        try:
            yield int(listener.getsockname()[1])
        finally:
            closed.set()
            listener.shutdown(socket.SHUT_RDWR)
            for one in open_sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(30)
            for one in open_sockets:
                one.close()
