"""The memory that all associations share: who finds none left waits, and is not refused.

Charged is what pynetdicom makes of bytes and not the bytes: a PDU lies in memory up to four times
while it is taken apart, an element of a command set of eight bytes takes three hundred.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

MAX_COMMAND_BYTES = 4096
"""A command set has a dozen short elements (PS3.7 annex E)."""

MAX_FRAGMENTS = 64
"""Presentation data values of one PDU; senders put one or two there (PS3.8 section 9.3.5)."""

MAX_NEGOTIATED_ITEMS = 8192
"""Items of an A-ASSOCIATE-RQ: 128 presentation contexts with 60 transfer syntaxes each."""

_ITEM_BYTES = 512
_COPIES, _PER_COMMAND_BYTE = 4, 48
_SLICE_SECONDS = 0.25


class Memory:
    """So many bytes, shared by threads. Who waits is served in the order of coming."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes, self._held = room_bytes, 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def held_bytes(self) -> int:
        """How much is held now."""
        return self._held

    def hold(self, size: int) -> None:
        """Hold so much, also beyond the room: for what is there already."""
        with self._changed:
            self._held += size

    def try_hold(self, size: int) -> bool:
        """Hold so much if that leaves a third of the room free; return whether it does."""
        with self._changed:
            fits = self._held + size <= self.room_bytes * 2 // 3
            self._held += size * fits
            return fits

    def wait(self, size: int, goes_on: Callable[[], bool]) -> bool:
        """Hold so much once there is room; False once ``goes_on`` no longer answers yes.

        What is larger than the whole room waits until it is alone. ``goes_on`` is asked a few times
        a second.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._may_go(ticket, size):
                    self._changed.wait(_SLICE_SECONDS)
                    if not goes_on():
                        return False
                self._held += size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        return True

    def give(self, size: int) -> None:
        """Give back what was held."""
        with self._changed:
            self._held -= size
            if self._waiting:
                self._changed.notify_all()

    def _may_go(self, ticket: object, size: int) -> bool:
        fits = self._held + size <= self.room_bytes or not self._held
        return self._waiting[0] is ticket and fits


class Share:
    """What one holder has of a `Memory`; never more than once given back."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self._held = memory, 0

    def hold(self, size: int) -> None:
        """Hold more, room or not."""
        self.memory.hold(size)
        self._held += size

    def try_hold(self, size: int) -> bool:
        """Hold more if there is room."""
        taken = self.memory.try_hold(size)
        self._held += size * taken
        return taken

    def wait(self, size: int, goes_on: Callable[[], bool]) -> bool:
        """Hold more once there is room; see `Memory.wait`."""
        taken = self.memory.wait(size, goes_on)
        self._held += size * taken
        return taken

    def release(self) -> None:
        """Give back all of it."""
        size, self._held = self._held, 0
        if size:
            self.memory.give(size)


class Budget:
    """The two memories of a receiver: of associations while they last, of what they send.

    Half of ``total_bytes`` is for what nobody counts: threads, the parser, what the allocator
    keeps.
    """

    def __init__(self, total_bytes: int) -> None:
        room = total_bytes // 2
        self.associations, self.messages = Memory(room // 4), Memory(room - room // 4)


def cost_of_pdu(length: int) -> int:
    """Return what a P-DATA-TF PDU of this length takes while it is taken apart."""
    return length * _COPIES + cost_of_command(min(length, MAX_COMMAND_BYTES))


def cost_of_command(length: int) -> int:
    """Return what a decoded command set takes."""
    return length * _PER_COMMAND_BYTE


def cost_of_request(length: int) -> int:
    """Return what an A-ASSOCIATE-RQ takes before it is looked at."""
    return length * _COPIES


def cost_of_items(count: int) -> int:
    """Return what so many items of an A-ASSOCIATE-RQ take while the association lasts."""
    return count * _ITEM_BYTES


def fragments_of(body: bytearray) -> int:
    """Return how many presentation data values the body of a P-DATA-TF PDU has."""
    at, count = 0, 0
    while at + 4 <= len(body):
        at += 4 + int.from_bytes(body[at : at + 4], "big")
        count += 1
    return count


def items_of(body: bytearray, start: int = 68, end: int | None = None) -> int:
    """Return how many items and items within them an A-ASSOCIATE-RQ has (PS3.8 section 9.3.2)."""
    at, count = start, 0
    end = len(body) if end is None else min(end, len(body))
    while at + 4 <= end:
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        count += 1
        if body[at] == 0x20:
            count += items_of(body, at + 8, at + 4 + length)
        elif body[at] == 0x50:
            count += items_of(body, at + 4, at + 4 + length)
        at += 4 + length
    return count


def command_bytes(parts: list[tuple[int, bytes]]) -> int:
    """Return how much of a command set the presentation data values of one PDU bring."""
    # The first byte of each is the message control header (PS3.8 annex E.2).
    return sum(len(data) - 1 for _, data in parts if data and data[0] & 1)
