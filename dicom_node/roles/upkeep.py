"""What keeps the node well over months: expiry, retention, disk, left-overs, self-test."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from dicom_node.errors import DestinationUnknown, DiskFull, NodeError, SpoolError
from dicom_node.ledger import Ledger
from dicom_node.logs import Log
from dicom_node.records import Arrival, Digest, Origin
from dicom_node.settings import Configuration, Settings
from dicom_node.settings.certificates import REMEDY, certificates
from dicom_node.spool import Spool

_SELF_TEST_SECONDS = 900
_SETTLED_SECONDS = 60.0
"""Younger bytes may just have come again, their row about to follow."""


def utc_now() -> datetime:
    """Return the present time, aware, UTC."""
    return datetime.now(UTC)


def expire(ledger: Ledger, log: Log) -> None:
    """Park what could not be delivered in time."""
    for delivery in ledger.expire_deliveries():
        log.event(
            "delivery.expired",
            destination=delivery.destination,
            study_instance_uid=delivery.study_instance_uid,
            reason=delivery.reason or "not delivered in time",
            remedy=DestinationUnknown.default_remedy,
        )


def watch_disk(spool: Spool, settings: Settings, log: Log) -> None:
    """Say so while receiving is refused for want of disk space."""
    free = spool.free_bytes()
    if free < settings.node.min_free_bytes:
        log.event("disk.low", free_bytes=free, remedy=DiskFull.default_remedy)


def watch_certificates(settings: Settings, log: Log) -> None:
    """Say which certificates of the node are no good, or will not be for long."""
    now = utc_now()
    for found in certificates(settings):
        if found.warns(now):
            log.event(
                "certificate.expires",
                key=found.name,
                days=found.days_left(now),
                ends_at=found.ends.isoformat(),
                reason=found.sentence(now),
                remedy=REMEDY,
            )


def retain(ledger: Ledger, spool: Spool, settings: Settings, log: Log) -> None:
    """Forget delivered studies past their time, or the oldest while too much is stored."""
    instances = freed = 0
    excess = spool.used_bytes() - settings.retention.max_bytes
    while True:
        # Over the limit, age no longer protects; what is not delivered is never in this list.
        keep_days = 0.0 if excess > freed else float(settings.retention.keep_days)
        study = next(iter(ledger.removable(keep_days, limit=1)), None)
        if study is None:
            break
        instances += len(ledger.instances(study.id))
        freed += sum(
            spool.remove(digest, min_age_seconds=_SETTLED_SECONDS)
            for digest in ledger.forget(study.id)
        )
    if instances:
        log.event("retention.removed", instances=instances, bytes=freed)


def sweep(ledger: Ledger, spool: Spool, log: Log) -> None:
    """Remove interrupted writes; take in received files whose row a crash prevented."""
    swept = spool.sweep(ledger.known_digests())
    if swept.removed_files:
        log.event("spool.swept", files=swept.removed_files, bytes=swept.removed_bytes)
    for digest in swept.unknown:
        _adopt(ledger, spool, digest, log)


def _adopt(ledger: Ledger, spool: Spool, digest: Digest, log: Log) -> None:
    arrival = _arrival_of(spool, digest)
    if arrival is None:
        # Not an instance: a result or saliency map whose study was never finished.
        spool.remove(digest)
        return
    ledger.received(arrival)
    log.event("spool.adopted", sop_instance_uid=arrival.sop_instance_uid, digest=digest)


def _arrival_of(spool: Spool, digest: Digest) -> Arrival | None:
    try:
        data = spool.read(digest)
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    except (SpoolError, InvalidDicomError):
        return None
    if header.get("Manufacturer") == "dicom-node":
        return None
    return Arrival(
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        digest=digest,
        size_bytes=len(data),
        origin=Origin("", "", ""),
    )


def self_test(configuration: Configuration, log: Log) -> None:
    """Let each bundle prove itself, in a process of its own: this one never loads a network."""
    analysis = configuration.settings.analysis
    wanted = (*analysis.suite, *([analysis.lungs] if analysis.lungs else []))
    answers = verified(configuration, wanted)
    for answer in answers:
        well = answer["well"]
        name = "self_test.passed" if well else "self_test.failed"
        log.event(name, network=answer["id"], **({} if well else {"reason": answer["fault"]}))


def verified(configuration: Configuration, bundles: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return what `models verify --json` says of some bundles.

    Raises `NodeError` where it gives no answer.
    """
    command = [sys.executable, "-m", "dicom_node", "models", "verify", *bundles, "--json"]
    if (models := configuration.settings.analysis.models_dir) is not None:
        command += ["--models", str(models)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_SELF_TEST_SECONDS, check=False, text=True
        )
        answers: Sequence[Mapping[str, Any]] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise NodeError(f"The self-test of the bundles gave no answer: {error}.") from error
    return answers
