"""A pynetdicom application entity with every limit set, and silent: it could log identifiers."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress

from pynetdicom import AE, _config, evt, timer

from dicom_node import __version__
from dicom_node.uids import IMPLEMENTATION_CLASS_UID

IMPLEMENTATION_VERSION_NAME = f"DICOMNODE {__version__}"[:16]
APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"

PDUS = (evt.EVT_PDU_SENT, evt.EVT_PDU_RECV)
"""What `acknowledge_at_once` is bound to."""

_NEGOTIATION_SECONDS = 30.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def silence() -> None:
    """Keep pynetdicom from logging: its messages may hold identifiers of patients (S7)."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logger = logging.getLogger("pynetdicom")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)


class _MonotonicTime:
    """Stands in for ``time`` in pynetdicom's timers: a step of the clock must not fire them."""

    time = staticmethod(time.monotonic)


def use_monotonic_timers() -> None:
    """Let pynetdicom's timers run on the monotonic clock (fault 63)."""
    timer.time = _MonotonicTime  # type: ignore[attr-defined, assignment]


def entity(
    ae_title: str, *, max_pdu_bytes: int, connect_seconds: float, answer_seconds: float
) -> AE:
    """Return an AE without contexts.

    ``connect_seconds`` limits TCP and TLS, ``answer_seconds`` each message and each silence.
    """
    silence()
    use_monotonic_timers()
    made = AE(ae_title)
    made.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    made.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    made.maximum_pdu_size = max_pdu_bytes
    made.connection_timeout = connect_seconds
    made.acse_timeout = min(answer_seconds, _NEGOTIATION_SECONDS)
    made.dimse_timeout = answer_seconds
    made.network_timeout = answer_seconds
    return made


def requestor(
    ae_title: str,
    *,
    connect_seconds: float,
    answer_seconds: float,
    max_pdu_bytes: int = 131_072,
) -> AE:
    """Return an AE that requests associations; use `limit_socket` with each of them."""
    return entity(
        ae_title,
        max_pdu_bytes=max_pdu_bytes,
        connect_seconds=connect_seconds,
        answer_seconds=answer_seconds,
    )


def limit_socket(event: evt.Event, seconds: float) -> None:
    """Limit every read and write of a requested association: bind to ``EVT_CONN_OPEN``.

    Without it a peer that freezes in the middle of an object holds the sender for ever: pynetdicom
    takes the socket's time-out away once it is connected (fault 78). The end of an object leaves at
    once, too: else it waits for the peer's delayed acknowledgement, 40 ms an object.
    """
    wrapper = event.assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        wrapper.socket.settimeout(seconds)
        wrapper.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(event: evt.Event) -> None:
    """Acknowledge what comes next without delay: bind to `PDUS` of a requested association.

    Peers that write an answer in two parts (DCMTK does) keep the second back until the first is
    acknowledged, for which a kernel takes 40 ms. The option does not last: it is set anew each
    time. Where the system does not know it, nothing is set.
    """
    wrapper = event.assoc.dul.socket
    if _QUICKACK is None or wrapper is None or wrapper.socket is None:
        return
    with suppress(OSError):  # it was closed meanwhile
        wrapper.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
