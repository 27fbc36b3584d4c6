"""A least rate for what has begun: whole but tiny PDUs must not hold an association for ever.

The deadline of a PDU and the silence that is allowed between two say nothing about an object of
which a few bytes come now and then.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time


class Pace:
    """How fast one message comes, measured over windows of ``window_seconds``."""

    def __init__(self, window_seconds: float, min_bytes_per_second: int) -> None:
        self._window_seconds = window_seconds
        self._wanted = window_seconds * min_bytes_per_second
        self._message: object = None
        self._since, self._before = 0.0, 0

    def restart(self) -> None:
        """Measure anew: for a while it was us who did not read."""
        self._message = None

    def is_too_slow(self, message: object, received: int, connection: socket.socket) -> bool:
        """Whether less has come of ``message`` in the window that ends now than was wanted.

        ``received``: bytes of it that were read; what the kernel holds for us has come, too.
        """
        now, come = time.monotonic(), received + _waiting_bytes(connection)
        if message is self._message:
            if now - self._since < self._window_seconds:
                return False
            if come - self._before < self._wanted:
                return True
        self._message, self._since, self._before = message, now, come
        return False


def _waiting_bytes(connection: socket.socket) -> int:
    """Return how much the kernel holds that was not read (tcp(7), SIOCINQ)."""
    answer = fcntl.ioctl(connection, termios.FIONREAD, bytes(4))
    return int(struct.unpack("i", answer)[0])
