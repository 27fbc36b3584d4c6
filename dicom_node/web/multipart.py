"""multipart/related in and out (RFC 2387, PS3.18 8.6.1.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

_MOST_PARTS = 1000


class NotMultipart(ValueError):
    """The body is not what its Content-Type says."""


@dataclass(slots=True)
class Part:
    """One part of a body, its headers in lower case."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @property
    def media_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def parameters_of(header: str) -> tuple[str, dict[str, str]]:
    """Return the media type of a header, in lower case, and its parameters."""
    message = Message()
    message["content-type"] = header
    found = message.get_params(failobj=[])
    return message.get_content_type(), {name.lower(): value for name, value in found[1:]}


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a body. Raises `NotMultipart`."""
    media_type, parameters = parameters_of(content_type)
    boundary = parameters.get("boundary", "")
    if media_type != "multipart/related" or not boundary:
        raise NotMultipart("The Content-Type must be multipart/related with a boundary.")
    parts: list[Part] = []
    name, value = bytearray(), bytearray()

    def begin() -> None:
        if len(parts) >= _MOST_PARTS:
            raise NotMultipart(f"More than {_MOST_PARTS} parts are not taken at once.")
        parts.append(Part())

    def header_end() -> None:
        parts[-1].headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        name.clear()
        value.clear()

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, end: parts[-1].data.extend(data[start:end]),
            "on_header_field": lambda data, start, end: name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": header_end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise NotMultipart(
            "The body does not have the parts that its Content-Type says."
        ) from error
    return parts


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
