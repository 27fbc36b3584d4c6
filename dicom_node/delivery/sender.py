"""C-STORE SCU: the results of one study to one destination, on one association.

The address comes from the AE table alone. Whatever the destination does, each delivery ends in the
ledger as sent, postponed or refused; bytes leave as they were frozen. An association that an object
makes the peer abort is followed by another one for the objects after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Protocol

from pynetdicom.association import Association

from dicom_node.delivery.association import (
    ARRIVED,
    NothingAccepted,
    NotRecognised,
    PeerGone,
    associate,
    end,
    peer_of,
    store,
)
from dicom_node.delivery.payload import payload_of
from dicom_node.delivery.retry import next_attempt_at, worth_another_try
from dicom_node.dimse.contexts import proposed_contexts
from dicom_node.dimse.status import SOP_CLASS_NOT_SUPPORTED, StoreOutcome, outcome_of
from dicom_node.errors import (
    AssociationRefused,
    DeliveryError,
    DestinationUnknown,
    ImageError,
    LedgerError,
    LedgerUnavailable,
    NodeError,
    ResultError,
    SettingsError,
    SpoolError,
)
from dicom_node.ledger import Outbox
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import Delivery, ResultObject
from dicom_node.settings import Remote, Settings
from dicom_node.settings.model import SR_CLASS_UIDS, DeliverySection
from dicom_node.spool import Spool


class Reissues(Protocol):
    """Makes a frozen report in another SOP class; what it returned is durable."""

    def classes(self, delivery: Delivery) -> Collection[str]:
        """Return the SOP classes in which the object of a delivery can be made; maybe none."""

    def reissue(self, delivery: Delivery, sop_class_uid: str) -> ResultObject:
        """Return the object in one of those; the same is the same bytes and the same UID.

        Raises `Unavailable`, `SpoolError`, `ImageError` and `ResultError`.
        """


PARCEL_SIZE = 32
"""So many objects at most are claimed, and sent, together."""


def lease_seconds(limits: DeliverySection) -> float:
    """Return how long a parcel is held: each of its objects may run into its time-out."""
    return (PARCEL_SIZE + 1) * limits.answer_timeout_seconds + limits.connect_timeout_seconds


@dataclass(frozen=True, slots=True)
class Sender:
    """What is needed to deliver: our title and limits, the stores, and who works.

    Once ``stop`` is set, no other object is begun; the rest keeps its lease for who set it to
    release.
    """

    settings: Settings
    spool: Spool
    ledger: Outbox
    worker: str
    log: Log
    stop: threading.Event = field(default_factory=threading.Event)
    patience: Patience = field(default_factory=lambda: Patience(Log("deliver")))
    unsupported: dict[str, set[str]] = field(default_factory=dict)
    """SOP classes that a destination accepted by context and then did not, since this start."""
    reissues: Reissues | None = None
    """None: every object goes in the classes in which it was frozen."""

    def deliver(self, parcel: Sequence[Delivery], remotes: Mapping[str, Remote]) -> None:
        """Deliver what was claimed for one destination and study, each object on its own merits.

        Raises `Unavailable` where the house ails before an object is sent. An outcome that cannot
        be written down yet is waited for: what arrived is not sent again.
        """
        # The other half of the lease is for the object that is then under way.
        no_more_at = time.monotonic() + lease_seconds(self.settings.delivery) / 2
        rest = parcel
        while rest and not self.stop.is_set():
            if time.monotonic() > no_more_at:
                self.postpone(rest, PeerGone("The destination is slow; the rest goes later."))
                return
            rest = self._on_one_association(rest, remotes, no_more_at)

    def postpone(self, deliveries: Sequence[Delivery], error: NodeError) -> None:
        """Keep for later what is not concluded of ``deliveries``, with the error as the reason."""
        for delivery in deliveries:
            self._postpone(delivery, error)

    def _on_one_association(
        self, parcel: Sequence[Delivery], remotes: Mapping[str, Remote], no_more_at: float
    ) -> Sequence[Delivery]:
        """Send as many as the association and the time allow; return those not tried."""
        name = parcel[0].destination
        remote = remotes.get(name)
        classes = list(chain.from_iterable(map(self._classes, parcel)))
        try:
            peer = peer_of(name, remote, self.settings)
            compression = remote.compression_uid if remote else None
            association = associate(peer, proposed_contexts(classes, compression))
        except NothingAccepted:
            self.ledger.negotiated(name, [], sorted(set(classes)))
            for delivery in parcel:
                self._not_accepted(delivery)
            return ()
        except (DeliveryError, SettingsError) as error:
            self.postpone(parcel, error)
            return ()
        assert remote is not None  # else there is no peer
        accepted = _accepted(association)
        self.ledger.negotiated(name, list(accepted), sorted(set(classes) - set(accepted)))
        try:
            for place, delivery in enumerate(parcel):
                over = self.stop.is_set() or time.monotonic() > no_more_at
                if place and (over or not association.is_established):
                    return parcel[place:]
                if not self._one(association, delivery, remote):
                    self.postpone(parcel[place + 1 :], PeerGone("The destination fell silent."))
                    return ()
        finally:
            end(association)
        return ()

    def _one(self, association: Association, delivery: Delivery, remote: Remote) -> bool:
        """Try one object; return False where the peer fell silent, so that no other is tried.

        An alternative whose class the peer does not take after all is followed by the next one at
        once: each has a SOP Instance UID of its own, whose bytes never change.
        """
        passed: set[str] = set()
        try:
            while True:
                sop_class = self._choose(association, delivery, remote, passed)
                if sop_class is None:
                    self._not_accepted(delivery)
                    return True
                chosen = self._frozen(delivery, sop_class)
                self.ledger.pin(delivery.id, self.worker, chosen.sop_instance_uid)
                compression = None if _was_in_vain(delivery) else remote.compression_uid
                status = self._store(association, chosen, compression)
                if self._is_given_up(delivery, chosen, status):
                    passed.add(chosen.sop_class_uid)
                    if self._choose(association, delivery, remote, passed) is not None:
                        continue
                self._conclude(delivery, chosen, status)
                return True
        except LedgerError:
            return True  # the row went elsewhere meanwhile: a person dropped it, say
        except (DeliveryError, SpoolError, ImageError, ResultError) as error:
            self._postpone(delivery, error)
            return not isinstance(error, DeliveryError) or isinstance(error, PeerGone)

    def _is_given_up(self, delivery: Delivery, item: ResultObject, status: int) -> bool:
        """Whether this alternative will not be taken: its class is not, or it was refused often."""
        if status == SOP_CLASS_NOT_SUPPORTED:
            known = self.unsupported.setdefault(delivery.destination, set())
            known.add(item.sop_class_uid)
            self.ledger.negotiated(delivery.destination, [], [item.sop_class_uid])
            return True
        return not worth_another_try(delivery, outcome_of(status))

    def _choose(
        self, association: Association, delivery: Delivery, remote: Remote, passed: set[str]
    ) -> str | None:
        """Return the class to send: that of the pinned object, else the first that is accepted.

        ``passed``: classes that it has just not taken. One that it did not take before comes last.
        """
        accepted = set(_accepted(association)) - passed
        possible = [name for name in self._classes(delivery) if name in accepted]
        for item in delivery.alternatives:
            is_pinned = item.sop_instance_uid == delivery.pinned_sop_instance_uid
            if is_pinned and item.sop_class_uid in possible:
                return item.sop_class_uid
        preferred = [SR_CLASS_UIDS[name] for name in remote.wanted_sr_classes]
        unsupported = self.unsupported.get(delivery.destination, ())
        ranked = [name for name in possible if name in preferred]
        if ranked:
            return min(ranked, key=lambda name: (name in unsupported, preferred.index(name)))
        others = [name for name in possible if name not in SR_CLASS_UIDS.values()]
        return others[0] if others else None

    def _classes(self, delivery: Delivery) -> Collection[str]:
        """Return the SOP classes that a delivery's object has, and those it can be made in."""
        frozen = [item.sop_class_uid for item in delivery.alternatives]
        more = self.reissues.classes(delivery) if self.reissues else ()
        return dict.fromkeys([*frozen, *more])

    def _frozen(self, delivery: Delivery, sop_class: str) -> ResultObject:
        """Return the object in a class: as it was frozen, else made now and frozen."""
        known = {item.sop_class_uid: item for item in reversed(delivery.alternatives)}
        if sop_class in known:
            return known[sop_class]
        assert self.reissues is not None  # else `_classes` names no other
        return self.reissues.reissue(delivery, sop_class)

    def _store(self, association: Association, item: ResultObject, compression: str | None) -> int:
        data = self.spool.read(item.digest)
        accepted = _accepted(association)[item.sop_class_uid]
        payload = payload_of(self.spool.path(item.digest), data, accepted, compression)
        try:
            answer_seconds = self.settings.delivery.answer_timeout_seconds
            return store(association, payload, len(data), answer_seconds)
        except ValueError as error:
            raise SpoolError("The object cannot be sent as it is stored.") from error

    def _conclude(self, delivery: Delivery, item: ResultObject, status: int) -> None:
        outcome = outcome_of(status)
        if outcome in ARRIVED:
            self._note(lambda: self.ledger.sent(delivery.id, self.worker, status))
            self.log.event(
                "delivery.sent",
                destination=delivery.destination,
                study_instance_uid=delivery.study_instance_uid,
                sop_instance_uid=item.sop_instance_uid,
                status=f"0x{status:04X}",
            )
            return
        reason = f"{delivery.destination} answered 0x{status:04X}"
        if not worth_another_try(delivery, outcome):
            self._refuse(delivery, f"{reason} at each of {delivery.attempts + 1} tries", status)
            return
        slowly = outcome is StoreOutcome.TRY_SLOWLY
        error = (NotRecognised if slowly else AssociationRefused)(reason)
        self._postpone(delivery, error, status)

    def _note(self, write: Callable[[], None]) -> None:
        def written() -> bool:
            write()
            return True

        if not self.patience.until("noting an outcome", written, self.stop):
            raise LedgerUnavailable("The node stops before the outcome could be written down.")

    def _postpone(self, delivery: Delivery, error: NodeError, status: int | None = None) -> None:
        slowly = isinstance(error, NotRecognised | DestinationUnknown | SettingsError)
        outcome = StoreOutcome.TRY_SLOWLY if slowly else StoreOutcome.TRY_AGAIN
        began = datetime.now(UTC)
        due = next_attempt_at(began, delivery.attempts, outcome, self.settings.delivery)
        pause = due - began

        def postpone() -> None:
            # From when it is noted: until the ledger can be, the clock may have been set.
            due = datetime.now(UTC) + pause
            self.ledger.postponed(delivery.id, self.worker, due, error.message, status)

        try:
            self._note(postpone)
        except LedgerError:
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

    def _not_accepted(self, delivery: Delivery) -> None:
        """Note an object that the destination has no use for: neither an error nor tried again.

        A rejection note that is not accepted is an error: the destination keeps wrong results.
        """
        if delivery.takes_back:
            self._refuse(
                delivery,
                f"{delivery.destination} accepts no rejection notes (Key Object Selection): it"
                " keeps the results that were taken back until somebody removes them there",
            )
            return
        reason = f"not accepted by {delivery.destination}: no presentation context"
        try:
            self._note(lambda: self.ledger.delivery_not_accepted(delivery.id, self.worker, reason))
        except LedgerError:
            return
        self.log.event(
            "delivery.not_accepted",
            destination=delivery.destination,
            study_instance_uid=delivery.study_instance_uid,
            kind=str(delivery.kind),
        )

    def _refuse(self, delivery: Delivery, reason: str, status: int | None = None) -> None:
        try:
            self._note(
                lambda: self.ledger.delivery_refused(delivery.id, self.worker, reason, status)
            )
        except LedgerError:
            return
        self.log.event(
            "delivery.refused",
            destination=delivery.destination,
            study_instance_uid=delivery.study_instance_uid,
            status=None if status is None else f"0x{status:04X}",
            reason=reason,
            remedy="Mend the cause at the destination, then `dicom-node outbox retry`.",
        )


def _was_in_vain(delivery: Delivery) -> bool:
    """Whether it left before and was refused, or the peer broke off or fell silent at it."""
    has_left = delivery.attempts > 0 and delivery.pinned_sop_instance_uid is not None
    return bool(delivery.status) or has_left


def _accepted(association: Association) -> dict[str, tuple[str, ...]]:
    accepted: dict[str, tuple[str, ...]] = {}
    for context in association.accepted_contexts:
        name = str(context.abstract_syntax)
        accepted[name] = (*accepted.get(name, ()), str(context.transfer_syntax[0]))
    return accepted
