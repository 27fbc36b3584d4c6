"""What the ledger remembers, as frozen values, and which transitions are allowed.

The transition tables are the program: the ledger refuses what is not in them; a test walks them.

::

    instance   received -> declined | admitted -> analysed | failed
    study      open -> quiet -> reported          (a study that grows is open again)
    delivery   waiting -> sent -> committed | refused | expired
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

InstanceId = NewType("InstanceId", int)
StudyId = NewType("StudyId", int)
ResultId = NewType("ResultId", int)
DeliveryId = NewType("DeliveryId", int)
Digest = NewType("Digest", str)
"""SHA-256 of a stored file, 64 lower-case hexadecimal digits."""

ROLES = ("receive", "intake", "housekeep", "analyse", "report", "deliver", "web", "monitor")
"""The processes of a node, in the order in which they are started and stopped."""

SUPERVISOR = "supervisor"
RUNS = "roles="
"""How a supervisor's sign of life begins, which names the roles that it runs."""


class InstanceState(StrEnum):
    """What is known of one received instance."""

    RECEIVED = "received"
    DECLINED = "declined"
    ADMITTED = "admitted"
    ANALYSED = "analysed"
    FAILED = "failed"


class StudyState(StrEnum):
    """Where a study (case) stands."""

    OPEN = "open"
    QUIET = "quiet"
    REPORTED = "reported"


class DeliveryState(StrEnum):
    """Where one object for one destination stands."""

    WAITING = "waiting"
    SENT = "sent"
    COMMITTED = "committed"
    REFUSED = "refused"
    EXPIRED = "expired"


SHADOW = "shadow"
"""Holds what is kept to be compared: no step of a person sends it."""


INSTANCE_TRANSITIONS: Mapping[InstanceState, frozenset[InstanceState]] = {
    InstanceState.RECEIVED: frozenset(
        {InstanceState.DECLINED, InstanceState.ADMITTED, InstanceState.FAILED}
    ),
    InstanceState.ADMITTED: frozenset(
        {InstanceState.ANALYSED, InstanceState.FAILED, InstanceState.DECLINED}
    ),
    # A person asks again: `dicom-node cases retry` and `cases reanalyse`.
    InstanceState.DECLINED: frozenset({InstanceState.RECEIVED}),
    InstanceState.FAILED: frozenset({InstanceState.RECEIVED}),
    InstanceState.ANALYSED: frozenset({InstanceState.RECEIVED}),
}

STUDY_TRANSITIONS: Mapping[StudyState, frozenset[StudyState]] = {
    StudyState.OPEN: frozenset({StudyState.QUIET}),
    StudyState.QUIET: frozenset({StudyState.REPORTED, StudyState.OPEN}),
    StudyState.REPORTED: frozenset({StudyState.OPEN}),
}

DELIVERY_TRANSITIONS: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.WAITING: frozenset(
        {DeliveryState.SENT, DeliveryState.REFUSED, DeliveryState.EXPIRED}
    ),
    DeliveryState.SENT: frozenset({DeliveryState.COMMITTED, DeliveryState.WAITING}),
    DeliveryState.COMMITTED: frozenset(),
    # `dicom-node outbox retry`.
    DeliveryState.REFUSED: frozenset({DeliveryState.WAITING}),
    DeliveryState.EXPIRED: frozenset({DeliveryState.WAITING}),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent an instance, and how. ``peer_address`` is an IP address, for the record only.

    ``door``: by what it came in. ``results_to``: the AE titles that got its results by the AE table
    as it was; for the record, for the table as it is decides (`routing`).
    """

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    door: str = "C-STORE"
    results_to: tuple[str, ...] = ()


BY_HAND = "(by hand, in the browser)"
"""Stands where a calling AE title would: longer than any, so that no AE can be meant."""

TRIAL_AE = "DICOMNODE_LOOP"
"""The AE that a trial of the whole way sends from: its phantoms are nobody's findings."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance whose bytes are durable in the spool and which the ledger does not know yet."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    digest: Digest
    size_bytes: int
    origin: Origin
    received_at: datetime | None = None
    """When its bytes came, where that was before it was taken in; None: now."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One received instance: unique by SOP Instance UID and digest of the stored bytes."""

    id: InstanceId
    study_id: StudyId
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    digest: Digest
    size_bytes: int
    state: InstanceState
    reason: str | None
    conflict: bool
    duplicate_count: int
    attempts: int
    received_at: datetime
    findings_json: str | None
    saliency_digest: Digest | None
    view: str | None = None
    headlines: str | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A study (a *case* in the user interface) with everything received for it."""

    id: StudyId
    study_instance_uid: str
    state: StudyState
    revision: int
    opened_at: datetime
    changed_at: datetime
    attempts: int
    reason: str | None = None
    signature: str | None = None

    @property
    def retracted(self) -> bool:
        """Whether a person took the present results back: they go to nobody any more."""
        return is_retraction(self.reason)


RETRACTED = "results retracted by "
"""How the reason of a study begins whose present results a person took back."""


def is_retraction(reason: str | None) -> bool:
    """Whether a study's reason says that a person took its present results back."""
    return (reason or "").startswith(RETRACTED)


class ObjectKind(StrEnum):
    """Kinds of result objects, as named by ``objects`` in ``remotes/*.toml``."""

    REPORT = "sr"
    CAPTURE = "capture"
    OVERLAYS = "overlays"
    PRESENTATION = "presentation"
    SEGMENTATION = "segmentation"
    DOCUMENT = "document"
    KEY_OBJECTS = "key-objects"

    @property
    def words(self) -> str:
        """The object as people call it."""
        return _OBJECT_WORDS.get(self, str(self))


_OBJECT_WORDS = {
    ObjectKind.REPORT: "report",
    ObjectKind.CAPTURE: "summary picture",
    ObjectKind.OVERLAYS: "overlay picture",
    ObjectKind.PRESENTATION: "presentation state",
    ObjectKind.DOCUMENT: "PDF",
    ObjectKind.KEY_OBJECTS: "key objects",
}
_HELD = {
    "approve": "wants approval by a person",
    "shadow": "kept to compare, never sent (shadow)",
}


@dataclass(frozen=True, slots=True)
class ResultObject:
    """One result object whose bytes are frozen in the spool.

    A structured report exists once a SOP class; all of them share ``group``, and exactly one of a
    group is sent to a destination: the first of the AE's order of preference that it accepts.
    """

    group: str
    kind: ObjectKind
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    digest: Digest
    size_bytes: int
    revision: int = 1


REJECTION = "rejection:"
"""How the groups of rejection notes begin."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One result (a group of alternative objects) for one destination.

    ``pinned_sop_instance_uid`` is the alternative that was offered to the peer once: every later
    attempt sends exactly these bytes again.
    """

    id: DeliveryId
    study_id: StudyId
    study_instance_uid: str
    group: str
    kind: ObjectKind
    destination: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    expires_at: datetime
    status: int | None
    reason: str | None
    pinned_sop_instance_uid: str | None
    alternatives: tuple[ResultObject, ...]
    held: str | None = None
    """``approve`` where it waits for a person, ``shadow`` where it is only kept to compare."""
    sent_at: datetime | None = None
    """When the destination last took it; it may be waiting to be sent again since."""

    @property
    def words(self) -> str:
        """What is sent, for a person."""
        return "rejection note" if self.takes_back else self.kind.words

    @property
    def told(self) -> str:
        """Why it is not sent, or not yet, or what happened last; "" where there is nothing."""
        if self.state is DeliveryState.WAITING and self.held is not None:
            return _HELD.get(self.held, self.held)
        return self.reason or ""

    @property
    def awaits_approval(self) -> bool:
        """Whether a person may send it, and nobody did so far."""
        return self.held is not None and self.held != SHADOW and self.state is DeliveryState.WAITING

    @property
    def takes_back(self) -> bool:
        """Whether it is a rejection note: it takes back results that the destination has."""
        return self.group.startswith(REJECTION)

    @property
    def may_have_arrived(self) -> bool:
        """Whether the destination may have the object: it was offered, whatever was answered."""
        return self.pinned_sop_instance_uid is not None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the story of an instance, study or delivery."""

    at: datetime
    what: str
    who: str
    instance_id: InstanceId | None
    study_id: StudyId | None
    delivery_id: DeliveryId | None
    detail: str | None

    def sentence(self, deliveries: Mapping[DeliveryId, Delivery]) -> str:
        """Return what happened, of a delivery with its object and destination."""
        item = deliveries.get(self.delivery_id) if self.delivery_id is not None else None
        what = f"{item.words} to {item.destination}" if item else ""
        return "  ".join(part for part in (what, self.detail or "") if part)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An association that was rejected, with its cause and what mends it.

    One row for each caller, what it called, where from, and why: two causes are two rows.
    """

    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    reason: str
    count: int
    last_at: datetime
    remedy: str = ""

    @property
    def is_unknown_caller(self) -> bool:
        """Whether the caller is not in the AE table, and nothing else: adding it would help."""
        return self.reason.startswith(UNKNOWN_CALLER)


UNKNOWN_CALLER = "calling AE title"
"""How the reason begins where the AE table has no such caller."""

OTHER_CALLERS = "other callers, too many to be kept one by one"
"""The reason of the one refusal that counts those of which nothing else is kept."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works as a role.

    ``token``: random, new with each process; it owns its leases. ``number``: which of its role.
    """

    role: str
    token: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """The last sign of life of a worker."""

    worker: Worker
    host: str
    pid: int
    state: str
    detail: str | None
    started_at: datetime
    beat_at: datetime

    @property
    def role(self) -> str:
        """What it works as."""
        return self.worker.role


@dataclass(frozen=True, slots=True)
class RoleHealth:
    """One role: whether it is well, and a sentence that says so."""

    name: str
    well: bool
    sentence: str
    starting: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class PeerContact:
    """What is known of a remote AE from the last contacts with it."""

    ae_title: str
    last_received_at: datetime | None
    last_sent_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    waiting: int
    accepted: tuple[str, ...] = ()
    """SOP classes of results that it accepted in the last association."""

    not_accepted: tuple[str, ...] = ()
    """SOP classes of results that it was offered then and did not accept."""


class AlarmKind(StrEnum):
    """What a person is told of without asking."""

    DISK_RESERVE = "disk-reserve"
    DESTINATION = "destination"
    ROLE_RESTARTS = "role-restarts"
    ROLE_ILL = "role-ill"
    NO_FILM = "no-film"
    CERTIFICATE_ENDS = "certificate-ends"
    CERTIFICATE_BAD = "certificate-bad"
    QUARANTINED = "quarantined"
    PARKED = "parked"
    LEDGER_ILL = "ledger-ill"
    SELF_TEST = "self-test"
    AUDIT_BROKEN = "audit-broken"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is, or was, wrong. ``subject``: of what, "" of the node.

    ``facts``: what its text tells, by the names of `alarms.toml`; no patient data. ``id`` is 0 of
    one that the ledger could not take, since it is the ledger that is ill.
    """

    id: int
    kind: str
    subject: str
    facts: Mapping[str, str]
    risen_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """What a channel has to tell a person: that an alarm has ``risen``, or has ``ended``."""

    id: int
    alarm: Alarm
    what: str
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Ailment:
    """What a chore found at its last look. ``reason``: what is wrong; None: nothing.

    ``kind``: the alarm that it raises. ``at``: since when it is as it is.
    """

    kind: str
    subject: str
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits: for a role, or a destination. ``since``: the longest, None where nothing does.

    ``failing``: whether the last try at a destination was in vain.
    """

    name: str
    waiting: int
    since: datetime | None
    failing: bool = False


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long a stage took: ``at_most`` seconds and longer than the step before, how often."""

    stage: str
    at_most: float
    number: int
    seconds: float
