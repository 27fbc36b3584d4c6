"""Where the bytes of a data set are while it is being taken in: memory, a file, or the spool."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from dicom_node.errors import DataSetMismatch, StoreError, Unavailable
from dicom_node.sidecar import Coming
from dicom_node.spool import Spool, Stored, Writing

_CHUNK = 1 << 20


class EncodedDataSet(Protocol):
    """An encoded data set of ``size`` bytes."""

    @property
    def size(self) -> int:
        """Its length in bytes, without what goes before it in the file."""

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Give a file that stands where the data set begins."""

    def keep(self, spool: Spool, head: bytes, coming: Coming | None) -> Stored:
        """Make ``head`` and the data set one durable file, and with it where it came from.

        Raises `Unavailable` and its leaves.
        """


@dataclass(frozen=True, slots=True)
class InMemory:
    """A data set in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Give a file that stands where the data set begins."""
        return io.BytesIO(self.data)

    def keep(self, spool: Spool, head: bytes, coming: Coming | None) -> Stored:
        """Make ``head`` and the data set one durable file."""
        return spool.write((head, self.data), coming)


@dataclass(frozen=True, slots=True)
class InFile:
    """A data set that begins at ``begin`` of a file; nobody else may move the file meanwhile."""

    file: BinaryIO
    begin: int

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.file.seek(0, io.SEEK_END) - self.begin

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Give the file, standing where the data set begins; it stays open."""
        self.file.seek(self.begin)
        return nullcontext(self.file)

    def keep(self, spool: Spool, head: bytes, coming: Coming | None) -> Stored:
        """Make ``head`` and the data set one durable file."""
        with spool.begin(len(head) + self.size) as writing:
            writing.write(head)
            for chunk in self._chunks():
                writing.write(chunk)
            return writing.finish(coming)

    def _chunks(self) -> Iterator[bytes]:
        self.file.seek(self.begin)
        while chunk := self.file.read(_CHUNK):
            yield chunk


class Streamed:
    """A large data set that goes into the spool while it arrives, whatever becomes of it.

    ``head`` is what its file begins with if it is what was announced; without it, since what was
    announced cannot be stored, nothing is. A fault of the house is kept for whoever asks what
    became of it: the peer is still sending and is answered at the end.
    """

    def __init__(self, spool: Spool, head: bytes | None) -> None:
        self._head, self._size = head or b"", 0
        self._writing: Writing | None = None
        self._fault: StoreError | Unavailable = DataSetMismatch("It cannot be what was announced.")
        if head is not None:
            try:
                self._writing = spool.begin()
                self._writing.write(head)
            except Unavailable as error:
                self._give_up(error)

    @property
    def size(self) -> int:
        """How many bytes of the data set have come."""
        return self._size

    def write(self, chunk: bytes) -> None:
        """Add what has come."""
        self._size += len(chunk)
        if self._writing is not None:
            try:
                self._writing.write(chunk)
            except Unavailable as error:
                self._give_up(error)

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Give a file that stands where the data set begins. Raises what has gone wrong."""
        file = self._whole().opened()
        file.seek(len(self._head))
        return file

    def keep(
        self,
        spool: Spool,  # noqa: ARG002
        head: bytes,
        coming: Coming | None,
    ) -> Stored:
        """Make the file durable. Raises `DataSetMismatch` unless it begins with ``head``."""
        if head != self._head:
            raise DataSetMismatch("The data set is not the one that was announced.")
        return self._whole().finish(coming)

    def discard(self) -> None:
        """Remove what has come, unless it was kept."""
        if self._writing is not None:
            self._writing.discard()
            self._writing = None

    def _give_up(self, fault: Unavailable) -> None:
        self._writing, self._fault = None, fault

    def _whole(self) -> Writing:
        if self._writing is None:
            raise self._fault
        return self._writing
