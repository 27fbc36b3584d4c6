"""Who may associate: calling AE title, address it calls from, called AE title. Pure decisions."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node.dimse.entity import APPLICATION_CONTEXT_NAME
from dicom_node.errors import NodeError
from dicom_node.records import UNKNOWN_CALLER
from dicom_node.settings import Remote, Settings
from dicom_node.settings.remotes import find_remote


@dataclass(frozen=True, slots=True)
class Requested:
    """What an A-ASSOCIATE-RQ says, AE titles without outer spaces."""

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    application_context_name: str
    certificate: str = ""
    """SHA-256 of the certificate that the peer showed, in hexadecimal digits; "" without TLS."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The association may go on; ``ae_title`` is the remote's title as the AE table spells it.

    ``results_to``: who gets the results of what comes by it, by the table as it is.
    """

    ae_title: str
    results_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """Result, source and diagnostic of the A-ASSOCIATE-RJ (PS3.8 table 9-21), and why."""

    result: int
    source: int
    diagnostic: int
    reason: str
    remedy: str

    @property
    def limited(self) -> bool:
        """Whether there are too many associations: nothing about this sender is wrong."""
        return self.source == _PRESENTATION


_PERMANENT, _TRANSIENT = 1, 2
_SERVICE_USER, _ACSE, _PRESENTATION = 1, 2, 3

UNDECIDED = Rejected(
    _TRANSIENT, _ACSE, 1, "the request could not be judged", NodeError.default_remedy
)
"""Where no decision can be made nobody is let in."""

STOPPING = Rejected(
    _TRANSIENT, _PRESENTATION, 1, "the node stops", "Nothing: the sender tries again later."
)
"""While the last objects are taken nobody new is let in."""


def decide(
    requested: Requested,
    remotes: Mapping[str, Remote],
    settings: Settings,
    established: int,
    established_from_address: int = 0,
) -> Accepted | Rejected:
    """Decide on a requested association while ``established`` others are open.

    ``established_from_address`` of them come from where this one comes from.
    """
    if requested.application_context_name != APPLICATION_CONTEXT_NAME:
        reason = "application context name not supported"
        return Rejected(_PERMANENT, _SERVICE_USER, 2, reason, "Check the sender's software.")
    node = settings.node
    if established >= node.max_associations:
        return _limited("max_associations", "local limit exceeded")
    if established_from_address >= node.max_associations_per_address:
        reason = "local limit exceeded: too many associations from this address"
        return _limited("max_associations_per_address", reason)
    if (
        settings.admission.check_called_ae_title
        and requested.called_ae_title != node.ae_title.strip()
    ):
        return Rejected(
            _PERMANENT,
            _SERVICE_USER,
            7,
            f"called AE title not recognised: called {requested.called_ae_title or '(nothing)'};"
            f" this node is {node.ae_title}",
            f"Correct the called AE title at {requested.calling_ae_title}: {node.ae_title}.",
        )
    return _calling(requested, remotes, settings)


def _calling(
    requested: Requested, remotes: Mapping[str, Remote], settings: Settings
) -> Accepted | Rejected:
    remote = find_remote(remotes, requested.calling_ae_title)
    if remote is None:
        if settings.admission.unknown_ae == "accept":
            return Accepted(requested.calling_ae_title)
        return _not_in_table(requested, remotes)
    if not _may_call_from(remote, requested.peer_address):
        remedy = f"Add {requested.peer_address} to addresses of {remote.ae_title} if it is right."
        return _unknown(f"{remote.ae_title} may not call from this address", remedy)
    if remote.certificates and requested.certificate not in remote.certificates:
        shown = requested.certificate or "none, since it calls without TLS"
        remedy = (
            f"Add its fingerprint to certificates of {remote.ae_title} if it is right: {shown}."
        )
        return _unknown(f"{remote.ae_title} may not call with this certificate", remedy)
    if not remote.may_send:
        remedy = f"Set may_send = true for {remote.ae_title} if it is right."
        return _unknown(f"{remote.ae_title} may not send", remedy)
    return Accepted(remote.ae_title, remote.destinations)


def _not_in_table(requested: Requested, remotes: Mapping[str, Remote]) -> Rejected:
    calling = requested.calling_ae_title
    for known in remotes:
        if known.lower() == calling.lower():
            # Another AE of that name would be one device twice, its results going to either.
            return _unknown(
                f"{known} is in the AE table, {calling} is not: upper and lower case differ",
                f"Correct the AE title at the sender: {known};"
                f" or set case_insensitive = true for {known}.",
            )
    return _unknown(f"{UNKNOWN_CALLER} not recognised", _add(requested))


def _may_call_from(remote: Remote, peer_address: str) -> bool:
    address = ipaddress.ip_address(peer_address)
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    networks = [ipaddress.ip_network(network) for network in remote.addresses]
    return not networks or any(address in network for network in networks)


def _limited(key: str, reason: str) -> Rejected:
    remedy = f"Raise node.{key} if so many senders are expected."
    return Rejected(_TRANSIENT, _PRESENTATION, 2, reason, remedy)


def _unknown(reason: str, remedy: str) -> Rejected:
    return Rejected(_PERMANENT, _SERVICE_USER, 3, reason, remedy)


def _add(requested: Requested) -> str:
    # For copying into a shell: a title that a stranger chose must stay one word there.
    address = shlex.quote(requested.peer_address)
    return (
        f"dicom-node ae add {shlex.quote(requested.calling_ae_title)} --host {address}"
        f" --port 104 --address {address}"
    )
