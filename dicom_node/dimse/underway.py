"""How many messages are under way, from their first byte to their answer, of all associations."""

from __future__ import annotations

import threading


class Underway:
    """A count that says when a node may go: none begins any more, and all that began are over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count, self._is_closed = 0, False

    @property
    def count(self) -> int:
        """How many messages have begun and are not over."""
        return self._count

    @property
    def is_closed(self) -> bool:
        """Whether none may begin any more."""
        return self._is_closed

    def begin(self) -> bool:
        """Count one more; False where none may begin any more."""
        with self._changed:
            self._count += not self._is_closed
            return not self._is_closed

    def end(self, count: int) -> None:
        """Count so many less."""
        with self._changed:
            self._count -= count
            self._changed.notify_all()

    def finish(self, seconds: float) -> bool:
        """Let none begin any more; return whether those that began were over in time."""
        with self._changed:
            self._is_closed = True
            return self._changed.wait_for(lambda: not self._count, seconds)


class Exchange:
    """The messages of one association: ended one by one, and all of them with it."""

    def __init__(self, underway: Underway) -> None:
        self._underway, self._lock = underway, threading.Lock()
        self._count, self._is_over = 0, False

    def begin(self) -> bool:
        """Count one more; False where none may begin any more."""
        with self._lock:
            begins = not self._is_over and self._underway.begin()
            self._count += begins
            return begins

    @property
    def is_last(self) -> bool:
        """Whether some are not over, and none may follow them."""
        return self._underway.is_closed and self._count > 0

    def end(self) -> None:
        """Count one less."""
        self._give(1)

    def close(self) -> None:
        """Count all of them less: nobody is left who would answer them."""
        with self._lock:
            self._is_over = True
        self._give(self._count)

    def _give(self, count: int) -> None:
        with self._lock:
            given = min(count, self._count)
            self._count -= given
        if given:
            self._underway.end(given)
