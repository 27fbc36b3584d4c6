"""A port of the pages or the monitor: uvicorn, with deadlines for what a peer may keep waiting.

uvicorn waits without end for a request to become whole. Here a peer that is silent, slow or does
not read is dropped, and a place is always found for the next one: where all are taken, whoever says
nothing gives his up, of the address that has most first.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicom_node.errors import PortUnavailable, listening_remedy
from dicom_node.records import ROLES
from dicom_node.settings import host_and_port

Asgi = Callable[..., Awaitable[None]]
"""An application as ASGI has it: scope, receive, send."""

_GRACE_SECONDS, _KEEP_ALIVE_SECONDS, _HANDSHAKE_SECONDS = 5, 30, 15.0
_MOST_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a peer may keep the pages waiting.

    ``header_seconds``: until a request's header is whole. A body may take ``body_seconds``, and
    longer by a second for each ``body_bytes`` of it. ``answer_seconds``: without reading an answer.
    """

    header_seconds: float = 20.0
    body_seconds: float = 30.0
    body_bytes: float = 8192.0
    answer_seconds: float = 60.0
    connections: int = _MOST_CONNECTIONS
    sweep_seconds: float = 1.0


@dataclass(slots=True)
class Room:
    """The connections of a server. Lives on its event loop."""

    deadlines: Deadlines
    guests: dict[Guest, None] = field(default_factory=dict)
    """Oldest first."""
    _sweeps: bool = False

    def enter(self, guest: Guest) -> None:
        """Take a connection in, if need be in place of one that says nothing."""
        if len(self.guests) >= self.deadlines.connections:
            victim = self._silent() or guest
            victim.transport.abort()
            self.guests.pop(victim, None)
        if not guest.transport.is_closing():
            self.guests[guest] = None
        if not self._sweeps:
            self._sweeps = True
            guest.loop.call_later(self.deadlines.sweep_seconds, self._sweep, guest.loop)

    def _silent(self) -> Guest | None:
        """Return the oldest without a request, of the address with most of them."""
        silent = [guest for guest in self.guests if guest.is_silent]
        numbers = Counter(guest.address for guest in silent)
        busiest = max(numbers, key=lambda each: numbers[each], default=None)
        return next((guest for guest in silent if guest.address == busiest), None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for guest in [each for each in self.guests if each.is_late(loop.time())]:
            guest.transport.abort()
            self.guests.pop(guest, None)
        self._sweeps = bool(self.guests)
        if self._sweeps:
            loop.call_later(self.deadlines.sweep_seconds, self._sweep, loop)


class Guest(H11Protocol):
    """One connection, which knows since when its peer keeps it waiting."""

    def __init__(self, room: Room, **wiring: Any) -> None:
        super().__init__(**wiring)
        self._room = room
        self._since = self._seen = self.loop.time()
        self._taken = 0
        self._begun, self._served = False, False
        self._stuck: float | None = None

    @property
    def address(self) -> str:
        """The peer's address."""
        return self.client[0] if self.client else ""

    @property
    def is_silent(self) -> bool:
        """Whether the header of a request is awaited."""
        return self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE

    def is_late(self, now: float) -> bool:
        """Whether the peer has kept us waiting too long."""
        deadlines, passed, self._seen = self._room.deadlines, now - self._seen, now
        if self._stuck is not None:
            return now - self._stuck > deadlines.answer_seconds
        if self.is_silent:
            # Between two requests uvicorn's own timer runs.
            is_asking = self._begun or not self._served
            return is_asking and now - self._since > deadlines.header_seconds
        if self.conn.their_state is h11.SEND_BODY:
            if self.flow.read_paused:
                # It is we who do not read.
                self._since += passed
            allowed = deadlines.body_seconds + self._taken / deadlines.body_bytes
            return now - self._since > allowed
        return False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find a place for the connection."""
        super().connection_made(transport)
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place up."""
        self._room.guests.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note what came, and what of a request is whole."""
        if self.is_silent and not self._begun:
            self._begun, self._since = True, self.loop.time()
        before = self.conn.their_state
        super().data_received(data)
        if self.conn.their_state is h11.SEND_BODY:
            if before is not h11.SEND_BODY:
                self._since, self._taken = self.loop.time(), 0
            self._taken += len(data)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._begun, self._served, self._since = False, True, self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note since when the peer does not read."""
        self._stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the peer reads."""
        self._stuck = None
        super().resume_writing()


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that gives a TLS handshake less time than asyncio's minute."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = _HANDSHAKE_SECONDS
        return await super().create_server(*args, **options)


@dataclass(frozen=True, slots=True)
class Server:
    """The pages on a port of their own."""

    uvicorn: uvicorn.Server
    room: Room

    @classmethod
    def of(
        cls,
        app: Asgi,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        deadlines: Deadlines | None = None,
    ) -> Server:
        """Return a server of an application; https where there is a certificate."""
        room = Room(deadlines or Deadlines(connections=_places()))
        # uvicorn's own lines would hold addresses of pages, and thereby what was searched for.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        configuration = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none",
            http=partial(Guest, room),  # type: ignore[arg-type]
            timeout_graceful_shutdown=_GRACE_SECONDS, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ssl_certfile=str(certificate) if certificate else None,
            ssl_keyfile=str(key) if key else None,
        )  # fmt: skip
        return cls(uvicorn.Server(configuration), room)

    def run(self, listener: socket.socket) -> None:
        """Serve until `stop`, in the calling thread."""
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self.uvicorn.serve([listener]))

    def stop(self) -> None:
        """Serve what is being asked, then nothing more; safe from another thread."""
        self.uvicorn.should_exit = True


def _places() -> int:
    """Raise the limit of descriptors; return how many connections leave some for all else."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return _MOST_CONNECTIONS if most < 0 else max(16, min(_MOST_CONNECTIONS, most // 2))


def listen(host: str, port: int, section: str = "web") -> socket.socket:
    """Return a socket that listens for the pages, or the role that ``section`` is about.

    Raises `PortUnavailable`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        who = {"web": "The pages"}.get(section, f"The {section}")
        others = ",".join(role for role in ROLES if role != section)
        remedy = listening_remedy(error, f"{section}.port", f"{section}.host")
        raise PortUnavailable(
            f"{who} cannot listen on {host_and_port(host, port)}: {error.strerror}.",
            remedy=f"{remedy} Or serve without: --role {others}.",
        ) from error
    return listener
