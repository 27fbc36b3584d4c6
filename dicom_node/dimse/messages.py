"""From PDUs to messages: what pynetdicom leaves open there, for both sides of an association.

pynetdicom 3.0.4 starts a thread for each N-EVENT-REPORT, as many as a peer likes, loses its own,
without an A-ABORT, on a message that it cannot decode, and tells nobody which messages are under
way. This module replaces its message provider, and the thread of an accepted association.

It leans on these internals, each with a test of its own: ``DIMSEServiceProvider.receive_primitive``
and what it does with a whole message, ``get_msg`` called again by ``Association._run_reactor`` only
once the last message was answered, ``Association.dimse.message`` with its ``data_set`` (ours where
it is large) and ``encoded_command_set``, ``Association._accepted_cx`` and ``_serve_request``,
"Evt19" in ``dul.event_queue``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, N_EVENT_REPORT

from dicom_node.dimse.incoming import Begin, Incoming
from dicom_node.dimse.memory import MAX_COMMAND_BYTES, Budget, command_bytes, cost_of_command
from dicom_node.dimse.underway import Exchange, Underway
from dicom_node.imaging.values import CAN_RAISE

INVALID_PDU = "Evt19"
"""PS3.8 table 9-10: unrecognised or invalid PDU received; the answer is an A-P-ABORT."""

OnDrop = Callable[[str, str], None]
"""Called with the peer's address and the reason when the guard drops it."""

_MOST_REPORTS = 16


class OrderlyMessages(DIMSEServiceProvider):
    """Hands on one whole message after the other; none gets a thread of its own."""

    def receive_primitive(self, primitive: Any) -> None:
        """Add the content of one P-DATA-TF PDU to the message."""
        if self.message is None:
            self.message = DIMSEMessage()
        if self.message.decode_msg(primitive, self.assoc):
            message: Any = self.message
            request = message.message_to_primitive()
            # The request has the data set from here on.
            message.encoded_command_set = message.data_set = BytesIO()
            self.message = None
            self._hand_on(message.context_id, request)

    def _hand_on(self, context_id: int, request: Any) -> None:
        # Nothing that is asked for here can be cancelled.
        if not isinstance(request, C_CANCEL):
            self.msg_queue.put((context_id, request))


class RequestorMessages(OrderlyMessages):
    """Of an association that we requested: what the peer reports on it is answered by one thread.

    Not by that which waits for the peer's answer to ours.
    """

    _reporter: ThreadPoolExecutor
    _places: threading.BoundedSemaphore

    @classmethod
    def guard(cls, provider: Any) -> None:
        """Put ``provider``, which its association has made already, under guard."""
        provider.__class__ = cls
        provider._reporter = ThreadPoolExecutor(1)
        provider._places = threading.BoundedSemaphore(_MOST_REPORTS)

    def _hand_on(self, context_id: int, request: Any) -> None:
        if not isinstance(request, N_EVENT_REPORT) or not request.is_valid_request:
            super()._hand_on(context_id, request)
        elif self._places.acquire(blocking=False):
            answered = self._reporter.submit(self.assoc._serve_request, request, context_id)
            answered.add_done_callback(lambda _: self._places.release())
        else:
            self.dul.event_queue.put(INVALID_PDU)


class GuardedMessages(OrderlyMessages):
    """Of an association that we accepted: counts its messages, and aborts on what is none."""

    on_drop: OnDrop
    begin: Begin | None
    budget: Budget
    is_ended: bool = False
    """Whether no more is read: what pours on after the A-ABORT would else keep its thread."""

    _exchange: Exchange
    _is_coming: bool = False
    _is_answering: bool = False
    _is_turned_away: bool = False

    @classmethod
    def guard(
        cls, provider: Any, on_drop: OnDrop, begin: Begin | None, budget: Budget, underway: Underway
    ) -> None:
        """Put ``provider``, which its association has made already, under guard."""
        provider.__class__ = cls
        provider.on_drop, provider.begin, provider.budget = on_drop, begin, budget
        provider._exchange = Exchange(underway)

    @property
    def is_answering_last(self) -> bool:
        """Whether none may follow what is being answered: an A-ABORT would overtake the answer."""
        return not self._is_coming and self._exchange.is_last

    def comes(self) -> None:
        """Note that bytes of a message come; turn them away where none may begin any more."""
        if self._is_coming or self._is_turned_away:
            return
        self._is_coming = self._exchange.begin()
        if not self._is_coming:
            self._is_turned_away = True
            self._end("the node stops")

    def receive_primitive(self, primitive: Any) -> None:
        """Add the content of one P-DATA-TF PDU to the message."""
        if self.message is None and self.begin is not None:
            self.message = DIMSEMessage()
            self.message.data_set = Incoming(
                self.message, self._transfer_syntax_of, self.begin, self.budget.messages
            )
        if not self._has_short_command(primitive):
            self.is_ended = True
            self._end(f"a command set of over {MAX_COMMAND_BYTES} bytes")
            return
        try:
            super().receive_primitive(primitive)
        except CAN_RAISE:
            self._end("not a DIMSE message")

    def get_msg(self, block: bool = False) -> Any:
        """Return the next message; that it is asked for says that the last one was answered."""
        if self._is_answering:
            self._is_answering = False
            self._exchange.end()
        found = super().get_msg(block)
        self._is_answering = found[1] is not None
        return found

    def forget(self) -> None:
        """Leave nothing of a message that will never be whole."""
        unfinished = self.message.data_set if self.message is not None else None
        if isinstance(unfinished, Incoming):
            unfinished.discard()

    def close(self) -> None:
        """Count no message of this association any more: nobody will answer it."""
        self._exchange.close()

    def _hand_on(self, context_id: int, request: Any) -> None:
        self._is_coming = False
        super()._hand_on(context_id, request)
        if isinstance(request, C_CANCEL):
            self._exchange.end()

    def _has_short_command(self, primitive: Any) -> bool:
        """Whether the command set is one, before it is decoded: that takes fifty times as much."""
        more = command_bytes(primitive.presentation_data_value_list)
        message: Any = self.message
        if more and isinstance(data_set := getattr(message, "data_set", None), Incoming):
            data_set.command.hold(cost_of_command(min(more, MAX_COMMAND_BYTES)))
        begun = message.encoded_command_set.tell() if message is not None else 0
        return bool(begun + more <= MAX_COMMAND_BYTES)

    def _end(self, reason: str) -> None:
        self.on_drop(str(self.assoc.requestor.address), reason)
        self.dul.event_queue.put(INVALID_PDU)

    def _transfer_syntax_of(self, context_id: int) -> str:
        return str(self.assoc._accepted_cx[context_id].transfer_syntax[0])


class CountedAssociation(Association):
    """An accepted association, with whose thread its messages are over."""

    def run(self) -> None:
        """Serve the association to its end."""
        try:
            super().run()
        finally:
            if isinstance(self.dimse, GuardedMessages):
                self.dimse.close()
