"""multipart/related in and out (RFC 2387, PS3.18 8.6.1.2)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from typing import BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

_MOST_PARTS = 1000
_LONGEST_PREAMBLE = 65_536
_NOT_SO = "The body does not have the parts that its Content-Type says."


class NotMultipart(ValueError):
    """The body is not what its Content-Type says."""


def parameters_of(header: str) -> tuple[str, dict[str, str]]:
    """Return the media type of a header, in lower case, and its parameters."""
    message = Message()
    message["content-type"] = header
    found = message.get_params(failobj=[])
    return message.get_content_type(), {name.lower(): value for name, value in found[1:]}


def boundary_of(content_type: str) -> str:
    """Return what stands between the parts of a body. Raises `NotMultipart`."""
    media_type, parameters = parameters_of(content_type)
    boundary = parameters.get("boundary", "")
    if media_type != "multipart/related" or not boundary:
        raise NotMultipart("The Content-Type must be multipart/related with a boundary.")
    return boundary


class Parts:
    """Takes a body apart while it comes: each part goes into ``file``, then ``whole`` is called."""

    def __init__(self, boundary: str, file: BinaryIO, whole: Callable[[], None]) -> None:
        self._file, self._whole, self._count = file, whole, 0
        self._first, self._before = f"--{boundary}".encode("latin-1", "replace"), bytearray()
        self._begun = self._within = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take what has come. Raises `NotMultipart`."""
        if not self._begun:
            chunk = self._without_preamble(chunk)
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise NotMultipart(_NOT_SO) from error

    def finish(self) -> None:
        """Say that nothing more comes. Raises `NotMultipart` where that is too early."""
        try:
            self._parser.finalize()
        except MultipartParseError as error:
            raise NotMultipart(_NOT_SO) from error
        if not self._count or self._within:
            raise NotMultipart(_NOT_SO)

    def _end(self) -> None:
        self._within = False
        self._whole()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._file.write(data[start:end])

    def _begin(self) -> None:
        self._count, self._within = self._count + 1, True
        if self._count > _MOST_PARTS:
            raise NotMultipart(f"More than {_MOST_PARTS} parts are not taken at once.")
        self._file.seek(0)
        self._file.truncate()

    def _without_preamble(self, chunk: bytes) -> bytes:
        """Return what comes from the first boundary on: text before it means nothing (RFC 2046)."""
        self._before += chunk
        at = (
            0
            if self._before.startswith(self._first)
            else self._before.find(b"\n" + self._first) + 1
        )
        if at or self._before.startswith(self._first):
            self._begun = True
            return bytes(self._before[at:])
        if len(self._before) > _LONGEST_PREAMBLE:
            raise NotMultipart(_NOT_SO)
        return b""


def related(media_type: str, bodies: Iterable[tuple[str, bytes]]) -> tuple[str, Iterator[bytes]]:
    """Return the Content-Type and the pieces of a body of several parts.

    ``bodies``: the Content-Type of each part and its bytes.
    """
    boundary = secrets.token_hex(16)

    def pieces() -> Iterator[bytes]:
        for content_type, data in bodies:
            yield f"--{boundary}\r\nContent-Type: {content_type}\r\n".encode()
            yield f"Content-Length: {len(data)}\r\n\r\n".encode()
            yield data
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return f'multipart/related; type="{media_type}"; boundary={boundary}', pieces()
