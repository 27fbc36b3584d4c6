"""From rows to records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from dicom_node.ledger.connection import Row
from dicom_node.records import (
    Delivery,
    DeliveryId,
    DeliveryState,
    Digest,
    Event,
    Instance,
    InstanceId,
    InstanceState,
    ObjectKind,
    PeerContact,
    Refusal,
    ResultObject,
    Study,
    StudyId,
    StudyState,
    Worker,
    WorkerBeat,
)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moment_or_none(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def instance_of(row: Row) -> Instance:
    """Return the instance of a row that is joined with its study's Study Instance UID."""
    return Instance(
        id=InstanceId(row["id"]),
        study_id=StudyId(row["study_id"]),
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        digest=Digest(row["digest"]),
        size_bytes=row["size_bytes"],
        state=InstanceState(row["state"]),
        reason=row["reason"],
        conflict=bool(row["conflict"]),
        duplicate_count=row["duplicate_count"],
        attempts=row["attempts"],
        received_at=_moment(row["received_at"]),
        findings_json=row["findings_json"],
        saliency_digest=Digest(row["saliency_digest"]) if row["saliency_digest"] else None,
        view=row["view"],
        headlines=row["headlines"],
    )


def study_of(row: Row) -> Study:
    """Return the study of a row."""
    return Study(
        id=StudyId(row["id"]),
        study_instance_uid=row["study_instance_uid"],
        state=StudyState(row["state"]),
        revision=row["revision"],
        opened_at=_moment(row["opened_at"]),
        changed_at=_moment(row["changed_at"]),
        attempts=row["attempts"],
        reason=row["reason"],
        signature=row["signature"],
    )


def result_of(row: Row) -> ResultObject:
    """Return the result object of a row."""
    return ResultObject(
        group=row["group_key"],
        kind=ObjectKind(row["kind"]),
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        series_instance_uid=row["series_instance_uid"],
        digest=Digest(row["digest"]),
        size_bytes=row["size_bytes"],
        revision=row["revision"],
    )


def delivery_of(row: Row, alternatives: Sequence[Row]) -> Delivery:
    """Return the delivery of a row (joined with its study) and the rows of its group."""
    return Delivery(
        id=DeliveryId(row["id"]),
        study_id=StudyId(row["study_id"]),
        study_instance_uid=row["study_instance_uid"],
        group=row["group_key"],
        kind=ObjectKind(row["kind"]),
        destination=row["destination"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        created_at=_moment(row["created_at"]),
        next_attempt_at=_moment(row["next_attempt_at"]),
        expires_at=_moment(row["expires_at"]),
        status=row["status"],
        reason=row["reason"],
        pinned_sop_instance_uid=row["pinned_sop_instance_uid"],
        held=row["held"],
        sent_at=_moment(row["sent_at"]) if row["sent_at"] else None,
        alternatives=tuple(result_of(alternative) for alternative in alternatives),
    )


def event_of(row: Row) -> Event:
    """Return the event of a row."""
    return Event(
        at=_moment(row["at"]),
        what=row["what"],
        who=row["who"],
        instance_id=None if row["instance_id"] is None else InstanceId(row["instance_id"]),
        study_id=None if row["study_id"] is None else StudyId(row["study_id"]),
        delivery_id=None if row["delivery_id"] is None else DeliveryId(row["delivery_id"]),
        detail=row["detail"],
    )


def refusal_of(row: Row) -> Refusal:
    """Return the refusal of a row."""
    return Refusal(
        calling_ae_title=row["calling_ae_title"],
        called_ae_title=row["called_ae_title"],
        peer_address=row["peer_address"],
        reason=row["reason"],
        count=row["count"],
        last_at=_moment(row["last_at"]),
        remedy=row["remedy"],
    )


def beat_of(row: Row) -> WorkerBeat:
    """Return the role's sign of life of a row."""
    return WorkerBeat(
        worker=Worker(row["role"], row["token"], row["number"]),
        host=row["host"],
        pid=row["pid"],
        state=row["state"],
        detail=row["detail"],
        started_at=_moment(row["started_at"]),
        beat_at=_moment(row["beat_at"]),
    )


def peer_of(row: Row) -> PeerContact:
    """Return the contact of a row that counts its waiting deliveries."""
    return PeerContact(
        ae_title=row["ae_title"],
        last_received_at=_moment_or_none(row["last_received_at"]),
        last_sent_at=_moment_or_none(row["last_sent_at"]),
        last_error=row["last_error"],
        last_error_at=_moment_or_none(row["last_error_at"]),
        waiting=row["waiting"],
        accepted=tuple(json.loads(row["accepted"] or "[]")),
        not_accepted=tuple(json.loads(row["not_accepted"] or "[]")),
    )
