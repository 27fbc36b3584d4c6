"""The catalogue of what the node says: name, level, allowed fields, sentence.

Nothing else may be logged. A field that its event does not declare is dropped (and fails a test),
so that no patient's name finds its way into a log by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event: ``sentence`` is what a person reads in the documentation."""

    name: str
    level: Level
    fields: frozenset[str]
    sentence: str


def _kind(name: str, level: Level, fields: str, sentence: str) -> EventKind:
    return EventKind(name, level, frozenset(fields.split()), sentence)


_PEER = "calling_ae_title called_ae_title peer_address"

_KINDS = (
    # association
    _kind("association.accepted", "info", _PEER, "An association was accepted."),
    _kind(
        "association.rejected",
        "warning",
        f"{_PEER} reason remedy",
        "An association was rejected; `dicom-node ae list` shows how to add the sender.",
    ),
    _kind(
        "association.lost",
        "warning",
        f"{_PEER} reason",
        "The peer aborted or vanished; nothing of an unfinished object is kept.",
    ),
    _kind(
        "association.dropped",
        "warning",
        "peer_address reason",
        "A peer was dropped: a PDU not complete in time, too long, or not DICOM.",
    ),
    _kind(
        "association.limit",
        "warning",
        "peer_address reason",
        "Too many associations at one time; the peer was told to try again.",
    ),
    _kind(
        "tls.handshake_failed",
        "warning",
        "peer_address reason",
        "A TLS handshake failed; other peers are not affected.",
    ),
    _kind("tls.renewed", "info", "", "Certificates have changed on the disk; they are in use."),
    _kind(
        "tls.rejected",
        "warning",
        "reason remedy",
        "Certificates have changed on the disk and do not fit; those before stay in use.",
    ),
    _kind("echo.answered", "debug", _PEER, "A C-ECHO was answered."),
    # store
    _kind(
        "instance.stored",
        "info",
        f"{_PEER} sop_instance_uid study_instance_uid digest bytes milliseconds",
        "An instance is durable and in the ledger; it was answered 0x0000.",
    ),
    _kind(
        "instance.duplicate",
        "info",
        f"{_PEER} sop_instance_uid digest",
        "The same bytes came again: one row, one result.",
    ),
    _kind(
        "instance.conflict",
        "warning",
        f"{_PEER} sop_instance_uid digest",
        "The same SOP Instance UID came with other bytes: both are kept.",
    ),
    _kind(
        "instance.refused",
        "warning",
        f"{_PEER} sop_instance_uid status reason remedy",
        "An instance was not taken and answered with a failure status.",
    ),
    # intake and analysis
    _kind("instance.admitted", "info", "sop_instance_uid", "The film will be analysed."),
    _kind("instance.declined", "info", "sop_instance_uid reason", "The film is not analysed."),
    _kind(
        "instance.analysed",
        "info",
        "sop_instance_uid finding milliseconds",
        "The networks have answered.",
    ),
    _kind(
        "shadow.unanswered",
        "warning",
        "sop_instance_uid reason",
        "A network in shadow has not answered; the film's findings are not affected.",
    ),
    _kind(
        "instance.failed",
        "error",
        "sop_instance_uid reason remedy",
        "The film could not be analysed; `dicom-node cases` shows why.",
    ),
    _kind(
        "instance.quarantined",
        "error",
        "sop_instance_uid reason remedy",
        "The film stopped its worker twice; it is not tried again by itself.",
    ),
    _kind("study.quiet", "info", "study_instance_uid", "Nothing more came for this study."),
    _kind(
        "study.reported",
        "info",
        "study_instance_uid revision objects destinations",
        "The results of the study are in the outbox.",
    ),
    _kind(
        "study.failed",
        "error",
        "study_instance_uid reason remedy",
        "No result of this study could be written.",
    ),
    _kind(
        "result.refused",
        "error",
        "study_instance_uid sop_instance_uid kind reason remedy",
        "One result of a study could not be written; the others are.",
    ),
    # delivery
    _kind(
        "delivery.sent",
        "info",
        "destination study_instance_uid sop_instance_uid status",
        "The destination has stored a result.",
    ),
    _kind(
        "delivery.postponed",
        "warning",
        "destination study_instance_uid reason remedy next_attempt_at attempts",
        "A result was not delivered yet; it is tried again.",
    ),
    _kind(
        "delivery.refused",
        "error",
        "destination study_instance_uid status reason remedy",
        "The destination will not take this result; `dicom-node outbox` shows why.",
    ),
    _kind(
        "delivery.not_accepted",
        "info",
        "destination study_instance_uid kind",
        "The destination has no presentation context for this result; it is not sent there.",
    ),
    _kind(
        "delivery.expired",
        "error",
        "destination study_instance_uid reason remedy",
        "A result was not delivered in time; it is kept and can be sent by hand.",
    ),
    # settings
    _kind("remotes.loaded", "info", "count", "The AE table was read."),
    _kind(
        "remotes.rejected",
        "error",
        "reason remedy",
        "The changed AE table has a fault; the old one stays in use.",
    ),
    # pages
    _kind(
        "page.failed",
        "error",
        "route error where",
        "A page or a program's request met an error that nobody foresaw; it was answered 500.",
    ),
    _kind(
        "instance.illegible",
        "warning",
        "sop_instance_uid reason",
        "A stored instance, or some of its values, cannot be told by DICOMweb; they are left out.",
    ),
    # roles
    _kind("role.started", "info", "role pid port sqlite device engine", "A role is working."),
    _kind("role.stopped", "info", "role pid", "A role has stopped in order."),
    _kind(
        "role.output",
        "debug",
        "role text",
        "A library wrote a line to standard error: what is there stays one JSON object a line.",
    ),
    _kind(
        "role.died",
        "error",
        "role number pid exit_status restart_seconds",
        "A role died; the supervisor starts it again.",
    ),
    _kind(
        "role.error",
        "error",
        "role reason remedy error",
        "A role met an error outside any one film and goes on.",
    ),
    _kind(
        "house.unavailable",
        "error",
        "role reason remedy error",
        "Disk, spool, ledger or device does not work now: the role waits, nothing is given up.",
    ),
    _kind("house.available", "info", "role error", "What the role waited for works again."),
    _kind("node.stopping", "info", "reason", "The node stops; what is in flight is finished."),
    _kind(
        "engine.passed_over",
        "warning",
        "role reason remedy",
        "An engine is installed and does not answer as Keras does here: Keras answers.",
    ),
    _kind(
        "network.silent",
        "error",
        "role network reason remedy",
        "A declared network cannot answer the self-test film; the others are not affected.",
    ),
    _kind("self_test.passed", "info", "network", "The bundle gives its stored output."),
    _kind(
        "self_test.failed",
        "error",
        "network reason remedy",
        "The bundle does not give its stored output.",
    ),
    # housekeeping
    _kind("retention.removed", "info", "instances bytes", "Delivered films past their time went."),
    _kind(
        "retention.announced",
        "warning",
        "studies days remedy",
        "Studies whose results nobody took or approved will soon be removed with them.",
    ),
    _kind(
        "audit.announced",
        "warning",
        "lines days remedy",
        "Lines of the audit trail will soon be past retention.audit_days and go.",
    ),
    _kind("audit.removed", "info", "lines days", "Lines of the audit trail past their time went."),
    _kind(
        "spool.left",
        "warning",
        "digest reason remedy",
        "A file that the ledger does not know could not be taken in; it stays where it is.",
    ),
    _kind("spool.swept", "info", "files bytes", "Left-overs of interrupted writes were removed."),
    _kind(
        "spool.adopted",
        "warning",
        "sop_instance_uid digest calling_ae_title",
        "A file that the ledger did not know was taken in, as from the AE that had sent it.",
    ),
    _kind(
        "certificate.expires",
        "warning",
        "key days ends_at reason remedy",
        "A certificate of the node is no good, or ends within 30 days; said once a day.",
    ),
    # alarms
    _kind("alarm.raised", "error", "alarm subject", "Something is wrong; people are told."),
    _kind("alarm.ended", "info", "alarm subject", "What people were told of is over."),
    _kind(
        "alarm.untold",
        "warning",
        "channel alarm attempts reason remedy",
        "A webhook or mail server did not take an alarm; it is tried again.",
    ),
    _kind("disk.low", "error", "free_bytes remedy", "Little disk is left; receiving is refused."),
)

CATALOGUE: Mapping[str, EventKind] = {kind.name: kind for kind in _KINDS}
