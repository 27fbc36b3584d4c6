"""The data set of a message that is arriving: in memory while it is small, then wherever it goes.

pynetdicom collects it in a ``BytesIO``, 64 associations with large objects thereby in gigabytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

from dicom_node.dimse.memory import Memory, Share

IN_MEMORY_BYTES = 1 << 18
"""Smaller data sets stay in memory while there is room, for each association, and one more."""

_COPIES = 2


class Stream(Protocol):
    """Takes what of a large data set has come; never raises for want of room."""

    @property
    def size(self) -> int:
        """How many bytes have come."""

    def write(self, chunk: bytes) -> None:
        """Add what has come."""

    def discard(self) -> None:
        """Forget it, unless it was kept."""


Begin = Callable[[str, str, str], Stream]
"""Called with SOP class, SOP instance and transfer syntax as announced; begins a `Stream`."""


class Incoming(io.BytesIO):
    """The data set of ``message``; ``stream`` has it once it is large, else it is in memory."""

    stream: Stream | None = None

    def __init__(
        self, message: Any, transfer_syntax_of: Callable[[int], str], begin: Begin, memory: Memory
    ) -> None:
        super().__init__()
        self.command, self._share = Share(memory), Share(memory)
        self._message, self._transfer_syntax_of, self._begin = message, transfer_syntax_of, begin

    def write(self, chunk: Any) -> int:
        """Add what has come. Raises `ValueError` for a large one that no C-STORE announced."""
        if self.stream is None and not self._stays_in_memory(len(chunk)):
            self.stream = self._announced()
            self.stream.write(self.getvalue())
            self.seek(0)
            self.truncate()
            self._share.release()
        if self.stream is None:
            return super().write(chunk)
        self.stream.write(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how many bytes have come."""
        return super().tell() if self.stream is None else self.stream.size

    def discard(self) -> None:
        """Forget what has come, unless it was kept."""
        if self.stream is not None:
            self.stream.discard()
        self.command.release()
        self._share.release()

    def close(self) -> None:
        """Forget it too: nobody has it any more."""
        self.discard()
        super().close()

    def _stays_in_memory(self, more: int) -> bool:
        return self.tell() + more <= IN_MEMORY_BYTES and self._share.try_hold(more * _COPIES)

    def _announced(self) -> Stream:
        command, context_id = self._message.command_set, self._message.context_id
        if "AffectedSOPInstanceUID" not in command:
            raise ValueError("A data set of this size belongs to a C-STORE.")
        uids = (str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID))
        return self._begin(*uids, self._transfer_syntax_of(context_id))
