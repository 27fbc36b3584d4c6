"""Request an association with every limit set, or say why there is none."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_node.dimse.entity import limit_socket, requestor
from dicom_node.errors import AssociationRefused, DeliveryError, PeerUnreachable

_CALLING, _CALLED = 3, 7
_SERVICE_USER = 1


class NotRecognised(AssociationRefused):
    """The peer does not know us, or not by the title we used: only a person can mend it."""

    default_remedy = "Enter this node's AE title, address and port in the receiving PACS."


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
        return f"{self.called_ae_title} at {self.host}:{self.port}"


def associate(peer: Peer, contexts: Sequence[PresentationContext]) -> Association:
    """Return an established association. Raises `PeerUnreachable` and `AssociationRefused`."""
    entity = requestor(
        peer.calling_ae_title,
        connect_seconds=peer.connect_seconds,
        answer_seconds=peer.answer_seconds,
    )
    association = entity.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.called_ae_title,
        evt_handlers=[(evt.EVT_CONN_OPEN, limit_socket, [peer.answer_seconds])],
        tls_args=(peer.tls, peer.host) if peer.tls is not None else None,
    )
    if not association.is_established:
        raise _why_not(association, peer)
    return association


def end(association: Association) -> None:
    """Release the association if it is still there."""
    if association.is_established:
        association.release()


def _why_not(association: Association, peer: Peer) -> DeliveryError:
    answer = association.acceptor.primitive
    if answer is None:
        return PeerUnreachable(
            f"{peer} cannot be reached or does not answer.",
            remedy="Check host and port, and that it is running.",
        )
    if not association.is_rejected:
        return AssociationRefused(
            f"{peer} accepts none of these objects.",
            remedy="Check which SOP classes and transfer syntaxes it takes.",
        )
    triple = (answer.result, answer.result_source, answer.diagnostic)
    reason = f"{peer} rejected the association ({triple[0]},{triple[1]},{triple[2]})"
    if triple[1] == _SERVICE_USER and triple[2] == _CALLING:
        return NotRecognised(
            f"{reason}: it does not recognise the AE title {peer.calling_ae_title}.",
            remedy=f"Add the AE title {peer.calling_ae_title}, with this address, to its AE table.",
        )
    if triple[1] == _SERVICE_USER and triple[2] == _CALLED:
        return NotRecognised(
            f"{reason}: it is not called {peer.called_ae_title}.",
            remedy="Use the AE title that the called node or PACS has.",
        )
    return AssociationRefused(f"{reason}.", remedy="Try again later: it is busy.")
