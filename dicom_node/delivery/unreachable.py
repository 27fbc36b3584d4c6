"""Why there is no association: refused, silent, another language, another name. One question each.

pynetdicom says only that there is none. What it does not say is found by connecting once more.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

from dicom_node.errors import DeliveryError, PeerUnreachable

_PROBE_SECONDS = 3.0
_ALMOST = 0.9


class Called(Protocol):
    """Whom we called: `delivery.association.Peer`."""

    @property
    def host(self) -> str:
        """Its name or address."""

    @property
    def port(self) -> int:
        """Its port."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context, where it is called over TLS."""

    @property
    def connect_seconds(self) -> float:
        """How long connecting may take."""


def name_unknown(peer: Called) -> DeliveryError:
    """Return the error of a host name that nobody knows."""
    return PeerUnreachable(
        f"{peer} cannot be reached: the name {peer.host} is not known.",
        remedy="Check host, and the name server of this machine.",
    )


def not_connected(peer: Called, waited_seconds: float) -> DeliveryError:
    """Return why there was no connection, after waiting for it so long."""
    if waited_seconds >= _ALMOST * peer.connect_seconds:
        return _silent(peer, peer.connect_seconds)
    seconds = min(peer.connect_seconds, _PROBE_SECONDS)
    try:
        with socket.create_connection((peer.host, peer.port), timeout=seconds) as plain:
            return _encrypted(peer, plain)
    except socket.gaierror:
        return name_unknown(peer)
    except TimeoutError:
        return _silent(peer, seconds)
    except ConnectionRefusedError:
        return PeerUnreachable(
            f"{peer} cannot be reached: nothing listens on port {peer.port} there.",
            remedy="Check host and port, and that the receiver is running.",
        )
    except OSError as error:
        return PeerUnreachable(
            f"{peer} cannot be reached: {error.strerror or 'the connection failed'}.",
            remedy="Check host, port and the network between.",
        )


def not_answered(peer: Called, waited_seconds: float, answer_seconds: float) -> DeliveryError:
    """Return why an open connection became no association."""
    if waited_seconds >= _ALMOST * answer_seconds:
        return PeerUnreachable(
            f"{peer} takes the connection, but gives no DICOM answer within {answer_seconds:g} s.",
            remedy="Check that this port is its DICOM port, and whether it wants TLS.",
        )
    if peer.tls is not None:
        return PeerUnreachable(
            f"{peer} ends the encrypted connection without a DICOM answer.",
            remedy="Check that it trusts this node's certificate, and that this is its DICOM port.",
        )
    return PeerUnreachable(
        f"{peer} ends the connection without a DICOM answer.",
        remedy="Check that this port is its DICOM port; if it wants TLS, set tls = true for it.",
    )


def _encrypted(peer: Called, plain: socket.socket) -> DeliveryError:
    if peer.tls is None:
        return PeerUnreachable(
            f"{peer} could not be reached a moment ago, and can be now.",
            remedy="Nothing to do if it has just started.",
        )
    try:
        with peer.tls.wrap_socket(plain, server_hostname=peer.host):
            return not_answered(peer, 0.0, 1.0)
    except ssl.SSLCertVerificationError as error:
        return PeerUnreachable(
            f"{peer} shows a certificate that is not trusted: {error.verify_message}.",
            remedy="Check tls.ca in node.toml, and the certificate of the receiver.",
        )
    except (TimeoutError, OSError) as error:
        told = getattr(error, "reason", None) or "no answer"
        return PeerUnreachable(
            f"{peer} takes the connection, but does not speak TLS with this node ({told}).",
            remedy="Set tls = false for it if it speaks plain DICOM, or name its TLS port.",
        )


def _silent(peer: Called, seconds: float) -> DeliveryError:
    what = "answers neither connection nor TLS" if peer.tls is not None else "gives no answer"
    return PeerUnreachable(
        f"{peer} cannot be reached: it {what} within {seconds:g} s.",
        remedy="Check host and port; a firewall on the way may drop the connection in silence.",
    )
