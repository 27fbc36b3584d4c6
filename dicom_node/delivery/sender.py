"""C-STORE SCU: the results of one study to one destination, on one association.

The address comes from the AE table alone. Whatever goes wrong, each delivery ends in the ledger as
sent, postponed or refused; bytes leave as they were frozen.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import _config
from pynetdicom.association import Association

from dicom_node.delivery.association import NotRecognised, Peer, associate, end
from dicom_node.delivery.retry import MAX_PERMANENT_ATTEMPTS, next_attempt_at
from dicom_node.dimse.contexts import proposed_contexts
from dicom_node.dimse.status import StoreOutcome, outcome_of
from dicom_node.dimse.tls import requestor_context
from dicom_node.errors import (
    AssociationRefused,
    DeliveryError,
    DestinationUnknown,
    LeaseLost,
    PeerSilent,
    SpoolError,
)
from dicom_node.ledger import Ledger
from dicom_node.logs import Log
from dicom_node.records import Delivery, ResultObject
from dicom_node.settings import Remote, Settings
from dicom_node.spool import Spool

# With a path, pynetdicom then sends the data set's bytes as they are in the file.
_config.STORE_SEND_CHUNKED_DATASET = True

SR_CLASSES: Mapping[str, str] = {
    "comprehensive": ComprehensiveSRStorage,
    "comprehensive-3d": Comprehensive3DSRStorage,
    "enhanced": EnhancedSRStorage,
}


@dataclass(frozen=True, slots=True)
class Sender:
    """What is needed to deliver: our title and limits, the stores, and who works."""

    settings: Settings
    spool: Spool
    ledger: Ledger
    worker: str
    log: Log

    def deliver(self, parcel: Sequence[Delivery], remotes: Mapping[str, Remote]) -> None:
        """Deliver what was claimed for one destination and study, each object on its own merits."""
        try:
            remote = _remote_of(parcel[0].destination, remotes)
            association = self._associate(parcel, remote)
        except DeliveryError as error:
            for delivery in parcel:
                self._postpone(delivery, error)
            return
        try:
            for delivery in parcel:
                self._one(association, delivery, remote)
        finally:
            end(association)

    def _associate(self, parcel: Sequence[Delivery], remote: Remote) -> Association:
        limits, tls = self.settings.delivery, self.settings.tls
        classes = [item.sop_class_uid for delivery in parcel for item in delivery.alternatives]
        peer = Peer(
            host=str(remote.host),
            port=int(remote.port or 0),
            called_ae_title=remote.ae_title,
            calling_ae_title=self.settings.node.ae_title,
            tls=requestor_context(tls) if remote.tls and tls else None,
            connect_seconds=limits.connect_timeout_seconds,
            answer_seconds=limits.answer_timeout_seconds,
        )
        return associate(peer, proposed_contexts(classes))

    def _one(self, association: Association, delivery: Delivery, remote: Remote) -> None:
        chosen = _choose(association, delivery, remote)
        if chosen is None and association.is_established:
            self._refuse(delivery, f"not accepted by {remote.ae_title}: no presentation context")
            return
        try:
            if chosen is None:
                raise PeerSilent(f"{remote.ae_title} ended the association.")
            self.ledger.pin(delivery.id, self.worker, chosen.sop_instance_uid)
            status = self._store(association, chosen)
        except LeaseLost:
            return
        except (DeliveryError, SpoolError) as error:
            self._postpone(delivery, error)
            return
        self._conclude(delivery, chosen, status)

    def _store(self, association: Association, item: ResultObject) -> int:
        data = self.spool.read(item.digest)
        syntaxes = _accepted(association).get(item.sop_class_uid, ())
        payload: Any = self.spool.path(item.digest)
        if ExplicitVRLittleEndian not in syntaxes:
            payload = _implicit(data)
        try:
            answer = association.send_c_store(payload)
        except (RuntimeError, ValueError, OSError) as error:
            raise PeerSilent("The association ended before the object was sent.") from error
        if "Status" not in answer:
            raise PeerSilent("The destination took the object and did not answer in time.")
        return int(answer.Status)

    def _conclude(self, delivery: Delivery, item: ResultObject, status: int) -> None:
        outcome = outcome_of(status)
        if outcome in (
            StoreOutcome.STORED,
            StoreOutcome.STORED_WITH_WARNING,
            StoreOutcome.ALREADY_THERE,
        ):
            self.ledger.sent(delivery.id, self.worker, status)
            self.log.event(
                "delivery.sent",
                destination=delivery.destination,
                study_instance_uid=delivery.study_instance_uid,
                sop_instance_uid=item.sop_instance_uid,
                status=f"0x{status:04X}",
            )
            return
        reason = f"{delivery.destination} answered 0x{status:04X}"
        tries = delivery.attempts + 1
        if outcome is StoreOutcome.REFUSED and tries >= MAX_PERMANENT_ATTEMPTS:
            self._refuse(delivery, f"{reason} {tries} times", status)
            return
        slowly = outcome is StoreOutcome.TRY_SLOWLY
        error = (NotRecognised if slowly else AssociationRefused)(reason)
        self._postpone(delivery, error, status)

    def _postpone(
        self, delivery: Delivery, error: DeliveryError | SpoolError, status: int | None = None
    ) -> None:
        slowly = isinstance(error, NotRecognised | DestinationUnknown)
        outcome = StoreOutcome.TRY_SLOWLY if slowly else StoreOutcome.TRY_AGAIN
        due = next_attempt_at(datetime.now(UTC), delivery.attempts, outcome, self.settings.delivery)
        try:
            self.ledger.postponed(delivery.id, self.worker, due, error.message, status)
        except LeaseLost:
            return
        self.log.event(
            "delivery.postponed",
            destination=delivery.destination,
            study_instance_uid=delivery.study_instance_uid,
            reason=error.message,
            remedy=error.remedy,
            next_attempt_at=due.isoformat(),
            attempts=delivery.attempts + 1,
        )

    def _refuse(self, delivery: Delivery, reason: str, status: int | None = None) -> None:
        self.ledger.delivery_refused(delivery.id, self.worker, reason, status)
        self.log.event(
            "delivery.refused",
            destination=delivery.destination,
            study_instance_uid=delivery.study_instance_uid,
            status=None if status is None else f"0x{status:04X}",
            reason=reason,
            remedy="Mend the cause at the destination, then `dicom-node outbox retry`.",
        )


def _remote_of(destination: str, remotes: Mapping[str, Remote]) -> Remote:
    remote = remotes.get(destination)
    if remote is None or remote.host is None or remote.port is None:
        raise DestinationUnknown(f"{destination} has no host and port in the AE table.")
    return remote


def _accepted(association: Association) -> dict[str, tuple[str, ...]]:
    accepted: dict[str, tuple[str, ...]] = {}
    for context in association.accepted_contexts:
        name = str(context.abstract_syntax)
        accepted[name] = (*accepted.get(name, ()), str(context.transfer_syntax[0]))
    return accepted


def _choose(association: Association, delivery: Delivery, remote: Remote) -> ResultObject | None:
    """Return the object to send: the pinned one, else the first that the peer accepts."""
    accepted = _accepted(association)
    possible = [item for item in delivery.alternatives if item.sop_class_uid in accepted]
    for item in possible:
        if item.sop_instance_uid == delivery.pinned_sop_instance_uid:
            return item
    preferred = [SR_CLASSES[name] for name in remote.sr_classes]
    ranked = [item for item in possible if item.sop_class_uid in preferred]
    if ranked:
        return min(ranked, key=lambda item: preferred.index(item.sop_class_uid))
    others = [item for item in possible if item.sop_class_uid not in SR_CLASSES.values()]
    return others[0] if others else None


def _implicit(data: bytes) -> Dataset:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)
