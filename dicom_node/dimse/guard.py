"""What pynetdicom leaves open at the front door: deadlines, lengths, back-pressure, hand-shakes.

pynetdicom 3.0.4 waits for ever for the rest of a PDU, reads a PDU of any length into memory,
queues pipelined requests without limit, uses ``select`` (which fails from 1024 descriptors on) and
makes TLS handshakes inside ``accept``. This module replaces its socket wrapper and server there;
what becomes of the bytes is `messages`' part.

It leans on these internals, each with a test of its own: ``AssociationSocket._is_connected``,
``AssociationSocket.recv`` called with 6 and then with the PDU length, ``Association.dul.socket``,
``Association.dimse.msg_queue``, ``Association.dimse.message`` with its ``data_set`` and
``encoded_command_set``, ``DULServiceProvider._idle_timer`` and ``_kill_thread``,
``RequestHandler._create_association``, ``AssociationServer.get_request``, ``ssl_context`` and
``process_request_thread``, ``timer.time``.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from socketserver import TCPServer
from typing import Any

from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from dicom_node.dimse.incoming import Begin
from dicom_node.dimse.memory import (
    MAX_COMMAND_BYTES,
    MAX_FRAGMENTS,
    MAX_NEGOTIATED_ITEMS,
    Budget,
    Share,
    cost_of_items,
    cost_of_pdu,
    cost_of_request,
    fragments_of,
    items_of,
)
from dicom_node.dimse.messages import CountedAssociation, GuardedMessages, OnDrop
from dicom_node.dimse.pace import Pace
from dicom_node.dimse.underway import Underway

_ASSOCIATE_RQ, _P_DATA = 0x01, 0x04
_PDU_TYPES = range(0x01, 0x08)
_MAX_OTHER_PDU_BYTES = 262_144
_HEADER_BYTES = 6
_PDV_SLACK_BYTES = 1024
_QUEUED_MESSAGES = 1
_READ_BYTES = 1 << 18
_SMALL_PDU_BYTES = 1024
"""Shorter ones, requests to release among them, wait for nobody's memory."""
_MEMORY_BYTES = 1 << 28


class PeerDropped(OSError):
    """The peer broke a limit; pynetdicom closes the connection on any OSError."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may ask of us. Times in seconds, sizes in bytes.

    ``max_connections`` counts TCP connections in any state, TLS handshakes included.
    ``min_bytes_per_second``: of a message that has begun, over each ``pdu_seconds``.
    ``memory_bytes``: what all associations together may take; see `memory`.
    """

    max_pdu_bytes: int
    max_object_bytes: int
    pdu_seconds: float
    negotiation_seconds: float
    max_connections: int
    max_connections_per_address: int
    min_bytes_per_second: int = 0
    memory_bytes: int = _MEMORY_BYTES


class GuardedSocket(AssociationSocket):
    """The socket wrapper of one accepted association, with limits."""

    limits: Limits
    on_drop: OnDrop
    _deadline: float
    _body_type: int
    _speaks_otherwise: bool
    _pace: Pace
    _pdu: Share
    _request: Share

    @classmethod
    def guard(cls, wrapper: Any, limits: Limits, on_drop: OnDrop, budget: Budget) -> None:
        """Put ``wrapper``, which has announced its connection already, under guard."""
        # Making a second wrapper would announce the connection to the state machine twice.
        wrapper.__class__ = cls
        wrapper.limits, wrapper.on_drop = limits, on_drop
        wrapper._deadline, wrapper._body_type, wrapper._speaks_otherwise = 0.0, 0, False
        wrapper._pace = Pace(limits.pdu_seconds, limits.min_bytes_per_second)
        wrapper._pdu, wrapper._request = Share(budget.messages), Share(budget.associations)

    @property
    def ready(self) -> bool:
        """Whether a PDU may be read now: there is data, and the last message was taken."""
        # The last PDU was taken apart: pynetdicom asks between two of them.
        self._pdu.release()
        if self.socket is None or not self._is_connected:
            return False
        if self._has_enough:
            self._pace.restart()
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN | select.POLLHUP | select.POLLERR)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0
        return pending or bool(poll.poll(0))

    @property
    def _has_enough(self) -> bool:
        messages = self.assoc.dimse
        last = isinstance(messages, GuardedMessages) and messages.is_answering_last
        return last or messages.msg_queue.qsize() >= _QUEUED_MESSAGES

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly ``nr_bytes`` before the PDU's deadline; less only if the peer closed.

        Raises `PeerDropped`.
        """
        if not self._body_type:
            established = self.assoc.is_established
            limit = self.limits.pdu_seconds if established else self.limits.negotiation_seconds
            self._deadline = time.monotonic() + limit
            header = self._read(nr_bytes)
            self._check(header)
            return header
        body_type, self._body_type = self._body_type, 0
        self._wait_for_memory(body_type, nr_bytes)
        body = self._read(nr_bytes)
        if body_type == _P_DATA and fragments_of(body) > MAX_FRAGMENTS:
            raise self._dropped(f"a PDU of over {MAX_FRAGMENTS} fragments")
        return self._requested(body) if body_type == _ASSOCIATE_RQ else body

    def send(self, bytestream: bytes) -> None:
        """Send a PDU; a peer that takes nothing for too long is given up."""
        if self.socket is not None:
            self.socket.settimeout(self.limits.pdu_seconds)
        super().send(bytestream)

    def close(self) -> None:
        """Close the connection, when nothing of an unfinished object is left."""
        self._forget()
        self._pdu.release()
        self._request.release()
        super().close()

    def _wait_for_memory(self, body_type: int, length: int) -> None:
        if length <= _SMALL_PDU_BYTES:
            return
        if body_type == _P_DATA:
            has_room = self._pdu.wait(cost_of_pdu(length), self._is_worth_waiting)
        else:
            end = self._deadline
            has_room = self._request.wait(
                cost_of_request(length), lambda: time.monotonic() < end and self._is_alive()
            )
        if not has_room:
            raise self._dropped("it was gone, or had waited too long, before there was memory")
        if body_type == _P_DATA:
            self._deadline = time.monotonic() + self.limits.pdu_seconds

    def _is_worth_waiting(self) -> bool:
        # It is not the peer who is slow now.
        self._pace.restart()
        self.assoc.dul._idle_timer.restart()
        return self._is_alive()

    def _is_alive(self) -> bool:
        if self.socket is None or self.assoc.dul._kill_thread:
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        except (OSError, ValueError):
            return False
        return not poll.poll(0)

    def _requested(self, body: bytearray) -> bytearray:
        items = items_of(body)
        if items > MAX_NEGOTIATED_ITEMS:
            raise self._dropped(f"an association request of over {MAX_NEGOTIATED_ITEMS} items")
        self._request.release()
        self._request.hold(cost_of_items(items))
        return _with_plain_titles(body)

    def _read(self, nr_bytes: int) -> bytearray:
        buffer = bytearray(nr_bytes)
        view, got = memoryview(buffer), 0
        assert self.socket is not None
        while got < nr_bytes:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._dropped("a PDU was not complete in time")
            self.socket.settimeout(left)
            try:
                count = self.socket.recv_into(view[got : got + _READ_BYTES])
            except TimeoutError as error:
                raise self._dropped("a PDU was not complete in time") from error
            if not count:
                return bytearray(view[:got])
            got += count
        return buffer

    def _check(self, header: bytearray) -> None:
        if len(header) < _HEADER_BYTES:
            return
        pdu_type, _, length = struct.unpack(">BBL", header)
        if pdu_type not in _PDU_TYPES:
            # pynetdicom aborts, and takes what else is there for further PDUs: told once.
            if not self._speaks_otherwise:
                self._report("not a DICOM PDU")
            self._speaks_otherwise = True
            return
        allowed = _MAX_OTHER_PDU_BYTES
        if pdu_type == _P_DATA:
            allowed = self.limits.max_pdu_bytes + _PDV_SLACK_BYTES
        if length > allowed:
            raise self._dropped(f"a PDU of {length} bytes is longer than {allowed}")
        self._check_message()
        if pdu_type == _P_DATA and isinstance(self.assoc.dimse, GuardedMessages):
            self.assoc.dimse.comes()
        self._body_type = pdu_type if length else 0

    def _check_message(self) -> None:
        message: Any = self.assoc.dimse.message
        if getattr(self.assoc.dimse, "is_ended", False):
            raise PeerDropped
        if message is None:
            return
        data_set, command_set = message.data_set.tell(), message.encoded_command_set.tell()
        if data_set > self.limits.max_object_bytes:
            raise self._dropped(f"an object of over {self.limits.max_object_bytes} bytes")
        if command_set > MAX_COMMAND_BYTES:
            raise self._dropped(f"a command set of over {MAX_COMMAND_BYTES} bytes")
        assert self.socket is not None
        if self._pace.is_too_slow(message, data_set + command_set, self.socket):
            raise self._dropped(
                f"an object of which less than {self.limits.min_bytes_per_second} bytes a second"
                " came"
            )

    def _report(self, reason: str) -> None:
        self.on_drop(str(self.assoc.requestor.address), reason)

    def _dropped(self, reason: str) -> PeerDropped:
        self._body_type = 0
        self._report(reason)
        self._forget()
        return PeerDropped(reason)

    def _forget(self) -> None:
        if isinstance(self.assoc.dimse, GuardedMessages):
            self.assoc.dimse.forget()


def _with_plain_titles(body: bytearray) -> bytearray:
    # PS3.8 table 9-11: called AE title at 4, calling AE title at 20, 16 bytes each. Some devices
    # pad with NUL instead of spaces. Other control characters must not be stripped away unseen, as
    # pynetdicom does: "MOD1\n" is not MOD1.
    for start in (4, 20):
        title = bytes(body[start : start + 16]).rstrip(b"\0").ljust(16)
        body[start : start + 16] = bytes(
            byte if 0x20 <= byte < 0x7F and byte != 0x5C else 0x3F for byte in title
        )
    return body


class _Connections:
    """Counts open TCP connections, in total and by address, whatever state they are in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, socket.socket]] = {}

    def enter(self, request: socket.socket, address: str, limits: Limits) -> bool:
        with self._lock:
            self._open = {
                key: entry for key, entry in self._open.items() if entry[1].fileno() != -1
            }
            same = sum(1 for other, _ in self._open.values() if other == address)
            if len(self._open) >= limits.max_connections:
                return False
            if same >= limits.max_connections_per_address:
                return False
            self._open[id(request)] = (address, request)
            return True

    def replace(self, old: socket.socket, new: socket.socket) -> None:
        with self._lock:
            entry = self._open.pop(id(old), None)
            if entry is not None:
                self._open[id(new)] = (entry[0], new)


class GuardedHandler(RequestHandler):
    """Puts each accepted connection under guard before its threads start."""

    server: GuardedServer

    def _create_association(self) -> Any:
        association = super()._create_association()
        server = self.server
        # Else a stalled peer holds a stopping process until its PDU's deadline.
        association.dul.daemon = True
        socket_wrapper, budget = association.dul.socket, server.budget
        GuardedSocket.guard(socket_wrapper, server.limits, server.on_drop, budget)
        GuardedMessages.guard(
            association.dimse, server.on_drop, server.begin, budget, server.underway
        )
        association.__class__ = CountedAssociation
        return association


class GuardedServer(ThreadedAssociationServer):
    """Listens; hands each connection to a thread of its own, which makes the TLS handshake."""

    daemon_threads = True
    request_queue_size = 128
    limits: Limits
    on_drop: OnDrop
    on_handshake_failed: OnDrop
    begin: Begin | None = None
    """Where large data sets go while they arrive; None: into memory."""

    def __init__(self, *arguments: Any, limits: Limits, **keywords: Any) -> None:
        self.limits, self.budget = limits, Budget(limits.memory_bytes)
        self.underway = Underway()
        self.on_drop = self.on_handshake_failed = _say_nothing
        self._connections = _Connections()
        keywords["request_handler"] = GuardedHandler
        super().__init__(*arguments, **keywords)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and nothing else."""
        listener: Any = self.socket
        request, address = listener.accept()
        # Without it each answer waits for the peer's delayed acknowledgement, 40 ms an instance.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return request, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse beyond the limits: one host must not take every place."""
        taken = self._connections.enter(request, client_address[0], self.limits)
        if not taken:
            self.on_drop(client_address[0], "too many connections")
        return taken

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Make the TLS handshake, if any, within its deadline; then start the association."""
        if self.ssl_context is not None:
            plain = request
            try:
                plain.settimeout(self.limits.negotiation_seconds)
                request = self.ssl_context.wrap_socket(plain, server_side=True)
            except OSError as error:
                self.on_handshake_failed(client_address[0], str(error))
                self.shutdown_request(plain)
                return
            self._connections.replace(plain, request)
        super().process_request_thread(request, client_address)

    def shutdown(self) -> None:
        """Stop listening; open associations go on."""
        # pynetdicom's own also looks for this server among those that its AE has started.
        TCPServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Report what went wrong with a connection without a trace on standard error."""
        self.on_drop(client_address[0], "the connection could not be taken")


def _say_nothing(_address: str, _reason: str) -> None:
    return
