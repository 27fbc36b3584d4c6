"""The listening side: policy at the door, C-ECHO and C-STORE behind it, an orderly end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import AE, evt
from pynetdicom.association import Association

from dicom_node.association.policy import STOPPING, UNDECIDED, Accepted, Rejected, Requested, decide
from dicom_node.association.refusals import GatheredRefusals
from dicom_node.association.store import StoreService
from dicom_node.dimse.contexts import accepted_contexts
from dicom_node.dimse.entity import entity
from dicom_node.dimse.guard import GuardedServer, Limits
from dicom_node.dimse.status import SUCCESS
from dicom_node.dimse.tls import AcceptorFiles
from dicom_node.errors import PortUnavailable, SettingsError, listening_remedy
from dicom_node.intake.take import FrontDoor, accepted_sop_classes
from dicom_node.ledger import Arrivals
from dicom_node.logs import Log
from dicom_node.records import Origin, Refusal
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool

_NEGOTIATION_SECONDS = 10.0
_ABORT_SECONDS = 2.0
_UNLIMITED = 1_000_000
"""The number of associations is limited by our policy, which does not count stalled peers."""


class Acceptor:
    """Accepts associations for one node. Raises `PortUnavailable` where it cannot listen."""

    def __init__(
        self,
        settings: Settings,
        remotes: Callable[[], Mapping[str, Remote]],
        spool: Spool,
        ledger: Arrivals,
        log: Log,
    ) -> None:
        self._settings, self._remotes, self._log = settings, remotes, log
        self._accepted: WeakKeyDictionary[Association, Accepted] = WeakKeyDictionary()
        self._front_door = FrontDoor.of(settings, spool, ledger, log)
        self._service = StoreService(self._front_door, self._origin_of)
        self._ae = self._entity()
        self._tls = AcceptorFiles(settings.tls) if settings.tls else None
        self._server = self._listen()
        self._refusals = GatheredRefusals(ledger, log)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def established(self) -> int:
        """Return how many associations are open now."""
        return len(self._established())

    def renew_tls(self) -> None:
        """Use the certificate, key and authority as they lie on the disk now, where they fit.

        For the handshakes that follow; no association is dropped for it.
        """
        if self._tls is None:
            return
        try:
            if self._tls.renew():
                self._server.ssl_context = self._tls.context
                self._log.event("tls.renewed")
        except SettingsError as error:
            self._log.event("tls.rejected", reason=error.message, remedy=error.remedy)

    def stop(self, drain_seconds: float) -> None:
        """Stop listening, let what has begun finish for so long, abort the rest.

        From here on no association and no message begins.
        """
        self._server.shutdown()
        self._server.underway.finish(drain_seconds)
        _abort(self._ae.active_associations)
        self._refusals.stop()

    def _entity(self) -> AE:
        node = self._settings.node
        made = entity(
            node.ae_title,
            max_pdu_bytes=node.max_pdu_bytes,
            connect_seconds=_NEGOTIATION_SECONDS,
            answer_seconds=node.idle_timeout_seconds,
        )
        made.acse_timeout = min(_NEGOTIATION_SECONDS, node.pdu_timeout_seconds)
        made.supported_contexts = accepted_contexts(accepted_sop_classes(self._settings))
        made.maximum_associations = _UNLIMITED
        return made

    def _listen(self) -> GuardedServer:
        node = self._settings.node
        limits = Limits(
            max_pdu_bytes=node.max_pdu_bytes,
            max_object_bytes=node.max_object_bytes,
            pdu_seconds=node.pdu_timeout_seconds,
            negotiation_seconds=min(_NEGOTIATION_SECONDS, node.pdu_timeout_seconds),
            max_connections=4 * node.max_associations + 64,
            max_connections_per_address=2 * node.max_associations + 64,
            min_bytes_per_second=node.min_bytes_per_second,
            memory_bytes=node.receive_memory_mb * 1_000_000,
        )
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_STORE, self._service.store),
            (evt.EVT_ABORTED, self._lost),
        ]
        try:
            server: GuardedServer = self._ae.make_server(  # type: ignore[assignment]
                (node.host, node.port),
                evt_handlers=handlers,
                ssl_context=self._tls.context if self._tls else None,
                server_class=GuardedServer,
                limits=limits,
            )
        except OSError as error:
            raise PortUnavailable(
                f"Port {node.port} on {node.host} cannot be listened on: {error.strerror}.",
                remedy=listening_remedy(error, "node.port", "node.host"),
            ) from error
        server.begin = self._front_door.stream
        server.on_drop = lambda address, reason: self._log.event(
            "association.dropped", peer_address=address, reason=reason
        )
        server.on_handshake_failed = lambda address, reason: self._log.event(
            "tls.handshake_failed", peer_address=address, reason=reason
        )
        return server

    def _requested(self, event: evt.Event) -> None:
        requested = _requested_by(event)
        answer = self._decide(requested)
        if isinstance(answer, Rejected):
            event.assoc.acse.send_reject(answer.result, answer.source, answer.diagnostic)
            event.assoc.kill()
            self._rejected(requested, answer)
            return
        self._accepted[event.assoc] = answer
        self._log.event("association.accepted", **_peer(requested))

    def _decide(self, requested: Requested) -> Accepted | Rejected:
        if self._server.underway.is_closed:
            return STOPPING
        try:
            established = self._established()
            same = established.count(requested.peer_address)
            return decide(requested, self._remotes(), self._settings, len(established), same)
        except Exception as error:  # noqa: BLE001 - pynetdicom would go on and accept
            with suppress(OSError):
                reason, remedy = UNDECIDED.reason, UNDECIDED.remedy
                self._log.event(
                    "role.error", reason=reason, remedy=remedy, error=type(error).__name__
                )
            return UNDECIDED

    def _rejected(self, requested: Requested, answer: Rejected) -> None:
        if answer.limited:
            self._log.event(
                "association.limit", peer_address=requested.peer_address, reason=answer.reason
            )
            return
        self._log.event(
            "association.rejected", **_peer(requested), reason=answer.reason, remedy=answer.remedy
        )
        self._refusals.add(
            Refusal(
                requested.calling_ae_title,
                requested.called_ae_title,
                requested.peer_address,
                answer.reason,
                count=1,
                last_at=datetime.now(UTC),
                remedy=answer.remedy,
            )
        )

    def _established(self) -> list[str]:
        active = self._ae.active_associations
        return [_address_of(item) for item in active if item.is_established]

    def _echo(self, event: evt.Event) -> int:
        self._log.event("echo.answered", **_peer(_requested_by(event)))
        return SUCCESS

    def _lost(self, event: evt.Event) -> None:
        if event.assoc.requestor.primitive is not None:
            reason = "the association was aborted"
            self._log.event("association.lost", **_peer(_requested_by(event)), reason=reason)

    def _origin_of(self, event: evt.Event) -> Origin:
        # Not accepted, not admitted: what follows the KeyError is a refusal.
        requested, accepted = _requested_by(event), self._accepted[event.assoc]
        return Origin(
            accepted.ae_title,
            requested.called_ae_title,
            requested.peer_address,
            results_to=accepted.results_to,
        )


def _abort(associations: list[Association]) -> None:
    # Each takes a tenth of a second, or as long as a stalled peer is being waited for.
    threads = [threading.Thread(target=item.abort, daemon=True) for item in associations]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _ABORT_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _address_of(association: Association) -> str:
    return str(association.requestor.address)


def _requested_by(event: evt.Event) -> Requested:
    primitive: Any = event.assoc.requestor.primitive
    return Requested(
        calling_ae_title=str(primitive.calling_ae_title).strip(" "),
        called_ae_title=str(primitive.called_ae_title).strip(" "),
        peer_address=_address_of(event.assoc),
        application_context_name=str(primitive.application_context_name),
        certificate=_certificate_of(event.assoc),
    )


def _certificate_of(association: Association) -> str:
    """Return the SHA-256 of the certificate that a peer showed; "" without one."""
    shown = getattr(getattr(association.dul.socket, "socket", None), "getpeercert", None)
    certificate = shown(binary_form=True) if shown else None
    return hashlib.sha256(certificate).hexdigest() if certificate else ""


def _peer(requested: Requested) -> dict[str, str]:
    return {
        "calling_ae_title": requested.calling_ae_title,
        "called_ae_title": requested.called_ae_title,
        "peer_address": requested.peer_address,
    }
