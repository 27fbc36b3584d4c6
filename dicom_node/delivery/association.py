"""Request an association with every limit set and send over it, or say why that failed."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_node.delivery.deadline import limited, longest_seconds
from dicom_node.delivery.unreachable import name_unknown, not_answered, not_connected
from dicom_node.dimse.entity import PDUS, acknowledge_at_once, limit_socket, requestor
from dicom_node.dimse.messages import RequestorMessages
from dicom_node.dimse.status import StoreOutcome
from dicom_node.dimse.tls import requestor_context
from dicom_node.errors import (
    AssociationRefused,
    DeliveryError,
    DestinationUnknown,
    PeerSilent,
    SettingsError,
)
from dicom_node.settings import Remote, Settings, host_and_port

# With a path, pynetdicom then sends the data set's bytes as they are in the file.
_config.STORE_SEND_CHUNKED_DATASET = True

ARRIVED = frozenset(
    {StoreOutcome.STORED, StoreOutcome.STORED_WITH_WARNING, StoreOutcome.ALREADY_THERE}
)
"""Outcomes after which the peer has the object."""

_ACCEPTED, _PERMANENT = 0, 1
_CALLING, _CALLED = 3, 7
_SERVICE_USER = 1


class NotRecognised(AssociationRefused):
    """The peer does not know us, or not by the title we used: only a person can mend it."""

    default_remedy = "Enter this node's AE title, address and port in the receiving PACS."


class NothingAccepted(AssociationRefused):
    """The peer took the association, but none of the SOP classes we have for it."""

    default_remedy = "Check which SOP classes and transfer syntaxes it takes."


class PeerGone(PeerSilent):
    """The peer aborted or closed the association, so the outcome of an object is unknown."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call and as whom. ``tls``: the context, where the peer wants TLS."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    tls: ssl.SSLContext | None = None
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0

    def __str__(self) -> str:
        return f"{self.called_ae_title} at {host_and_port(self.host, self.port)}"


def peer_of(ae_title: str, remote: Remote | None, settings: Settings) -> Peer:
    """Return how to call the AE ``ae_title``, whose entry in the AE table is ``remote``.

    Raises `DestinationUnknown` without an address, `SettingsError` where it wants TLS and [tls] is
    missing or unusable: what is meant for TLS never goes out in the clear.
    """
    if remote is None or remote.host is None or remote.port is None:
        raise DestinationUnknown(f"{ae_title} has no host and port in the AE table.")
    if remote.tls and settings.tls is None:
        raise SettingsError(
            f"{ae_title} wants TLS, and this node has none.", remedy="Add [tls] to node.toml."
        )
    return Peer(
        host=remote.host,
        port=remote.port,
        called_ae_title=remote.ae_title,
        calling_ae_title=settings.node.ae_title,
        tls=requestor_context(settings.tls) if remote.tls and settings.tls else None,
        connect_seconds=settings.delivery.connect_timeout_seconds,
        answer_seconds=settings.delivery.answer_timeout_seconds,
    )


def associate(peer: Peer, contexts: Sequence[PresentationContext]) -> Association:
    """Return an established association.

    Raises `PeerUnreachable`, and `AssociationRefused` with its kinds.
    """
    entity = requestor(
        peer.calling_ae_title,
        connect_seconds=peer.connect_seconds,
        answer_seconds=peer.answer_seconds,
    )
    started, opened = time.monotonic(), threading.Event()

    def open_now(event: evt.Event) -> None:
        opened.set()
        RequestorMessages.guard(event.assoc.dimse)
        limit_socket(event, peer.answer_seconds)

    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.called_ae_title,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, open_now),
                *((pdu, acknowledge_at_once) for pdu in PDUS),
            ],
            tls_args=(peer.tls, peer.host) if peer.tls is not None else None,
        )
    except (OSError, UnicodeError) as error:
        # A name is looked up before there is a connection; UnicodeError: it is no host name.
        raise name_unknown(peer) from error
    if association.is_established:
        return association
    if association.acceptor.primitive is not None:
        raise _why_not(association, peer)
    waited = time.monotonic() - started
    if opened.is_set():
        raise not_answered(peer, waited, float(entity.acse_timeout or peer.answer_seconds))
    raise not_connected(peer, waited)


def store(
    association: Association,
    payload: Path | Dataset,
    size_bytes: int,
    answer_seconds: float,
) -> int:
    """Send one object and return the peer's C-STORE status.

    Raises `PeerSilent` where time ran out, `PeerGone` where the peer left first, and `ValueError`
    where nothing was sent: no presentation context for it, or it cannot be read or encoded.
    """
    total_seconds = longest_seconds(size_bytes, answer_seconds)
    with limited(association, answer_seconds, total_seconds) as deadline:
        try:
            answer = association.send_c_store(payload)
        except (NotImplementedError, OSError) as error:
            # The file's; those of the connection end in the library's own thread.
            raise ValueError("The object cannot be read.") from error
        except RuntimeError as error:
            raise PeerGone("The association ended before the object was sent.") from error
    if "Status" in answer:
        return int(answer.Status)
    if deadline.expired:
        raise PeerSilent("The destination did not take the object, or not answer, in time.")
    raise PeerGone("The destination ended the association without an answer.")


def end(association: Association) -> None:
    """Release the association if it is still there."""
    if association.is_established:
        association.release()


def _why_not(association: Association, peer: Peer) -> DeliveryError:
    answer: Any = association.acceptor.primitive
    if answer.result == _ACCEPTED:
        if association.accepted_contexts:
            return AssociationRefused(f"{peer} took the association and ended it at once.")
        return NothingAccepted(f"{peer} accepts none of these objects.")
    reason = (
        f"{peer} rejected the association"
        f" ({answer.result},{answer.result_source},{answer.diagnostic})"
        f" that {peer.calling_ae_title} requested"
    )
    if answer.result_source == _SERVICE_USER and answer.diagnostic == _CALLING:
        return NotRecognised(
            f"{reason}: it does not recognise the AE title {peer.calling_ae_title}.",
            remedy=f"Add the AE title {peer.calling_ae_title}, with this address, to its AE table.",
        )
    if answer.result_source == _SERVICE_USER and answer.diagnostic == _CALLED:
        return NotRecognised(
            f"{reason}: it is not called {peer.called_ae_title}.",
            remedy="Use the AE title that the called node or PACS has.",
        )
    if answer.result == _PERMANENT:
        return AssociationRefused(f"{reason}.", remedy="Its log tells why; it gave no reason.")
    return AssociationRefused(f"{reason}.", remedy="Try again later: it is busy.")
