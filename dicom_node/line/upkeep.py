"""What keeps the node well over months: expiry, retention, disk, left-overs, self-test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from dicom_node.bundles.declared import Declared, check_declared_weights
from dicom_node.errors import (
    BundleDamaged,
    DestinationUnknown,
    DiskFull,
    ImageError,
    NodeError,
    SpoolError,
    SpoolUnreadable,
    SpoolUnwritable,
    StoreError,
)
from dicom_node.imaging.header import read_attributes
from dicom_node.imaging.values import CAN_RAISE, text
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import (
    ANNOUNCED_DAYS,
    COUNTED,
    Ailments,
    Alarms,
    Arrivals,
    Forgetting,
    Upkeep,
)
from dicom_node.ledger.clock import steady as machine_steady
from dicom_node.line.bundles import declared_bundles, own_bundles
from dicom_node.logs import Log
from dicom_node.patience import place_of
from dicom_node.records import AlarmKind, Arrival, Digest, Origin, Study
from dicom_node.results.modules import MANUFACTURER
from dicom_node.settings import Configuration, Settings
from dicom_node.settings.certificates import REMEDY, certificates
from dicom_node.spool import Spool, Stored

_SELF_TEST_SECONDS = 900
_OF_ONE_FILE = (SpoolError, SpoolUnreadable, SpoolUnwritable)
"""A file that cannot be read or removed keeps none behind it from being taken in."""

_UNKNOWN = Origin("", "", "", door="sweep")

_SETTLED_SECONDS = 60.0
"""Younger bytes may just have come again, their row about to follow."""


def expire(ledger: Upkeep, log: Log) -> None:
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
    now = datetime.now(UTC)
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


class Fullness:
    """How full the spool is, known without a look at its files.

    The ledger keeps the sum of the sizes that its rows name, changed with them in one transaction:
    no crash makes it wrong. Beside it counts by how much the last sweep found more (maps,
    left-overs that stay) or less (one file that two rows name).
    """

    def __init__(self, ledger: Upkeep) -> None:
        self._ledger, self._beside = ledger, 0

    def found(self, size_bytes: int, named_bytes: int) -> None:
        """Note what all files together took when the rows' sum was ``named_bytes``."""
        self._beside = size_bytes - named_bytes

    def used_bytes(self) -> int:
        """Return the size of all stored files together."""
        return self._ledger.stored_bytes() + self._beside


def retain(
    ledger: Upkeep, spool: Spool, settings: Settings, log: Log, fullness: Fullness | None = None
) -> None:
    """Forget studies past their time, or the oldest finished ones while too much is stored."""
    kept = settings.retention
    removal = _Removal(ledger, spool)
    excess = (fullness or Fullness(ledger)).used_bytes() - kept.max_bytes
    while removal.of(ledger.removable(float(kept.keep_days))):
        pass
    # Over the limit age no longer protects; what is not delivered is never in this list.
    while excess > removal.freed and removal.of(ledger.removable(0.0, limit=1)):
        pass
    while removal.of(ledger.parked(float(kept.parked_days)), parked=True):
        pass
    if removal.instances:
        log.event("retention.removed", instances=removal.instances, bytes=removal.freed)


class _Removal:
    """Forgets studies and counts what that gave."""

    def __init__(self, ledger: Upkeep, spool: Spool) -> None:
        self._ledger, self._spool = ledger, spool
        self.instances = self.freed = 0

    def of(self, studies: Sequence[Study], *, parked: bool = False) -> bool:
        """Forget studies; return whether any was."""
        forgotten = False
        for study in studies:
            instances = len(self._ledger.instances(study.id))
            digests = self._ledger.forget(study.id, parked=parked)
            if instances and not digests:
                continue  # it went on meanwhile, or others name the same files
            forgotten = True
            self.instances += instances
            self.freed += sum(
                self._spool.remove(digest, min_age_seconds=_SETTLED_SECONDS) for digest in digests
            )
        return forgotten


def forget_the_old(ledger: AgeingLedger, configuration: Configuration) -> None:
    """Forget callers, sessions, alarms and events of removed studies that are past their time."""
    pages, kept = configuration.settings.web, configuration.settings.retention
    ledger.forget_refusals(kept.refusals_days)
    ledger.forget_peers(kept.refusals_days, configuration.remotes)
    ledger.forget_sessions(
        timedelta(minutes=pages.idle_minutes), timedelta(hours=pages.longest_hours)
    )
    ledger.forget_events(kept.events_days)
    ledger.forget_alarms(configuration.settings.alarms.keep_days)


def age_audit(ledger: Forgetting, settings: Settings, log: Log) -> None:
    """Forget lines of the audit trail past their time; say beforehand which are next to go."""
    days = settings.retention.audit_days
    if lines := ledger.forget_audit(days):
        log.event("audit.removed", lines=lines, days=days)
    if soon := ledger.audit_lines_older(days - ANNOUNCED_DAYS, COUNTED):
        log.event(
            "audit.announced",
            lines=soon,
            days=ANNOUNCED_DAYS,
            remedy="Save the trail beforehand, by the page Audit or from /audit.csv, or raise"
            " retention.audit_days.",
        )


def announce(ledger: Upkeep, settings: Settings, log: Log) -> None:
    """Say beforehand which parked results will go, so that a person may still send them."""
    soon = ledger.parked(float(settings.retention.parked_days) - ANNOUNCED_DAYS, COUNTED)
    if soon:
        log.event(
            "retention.announced",
            studies=len(soon),
            days=ANNOUNCED_DAYS,
            remedy="See `dicom-node outbox`; send with `dicom-node outbox retry`, or approve; or"
            " raise retention.parked_days.",
        )


class SteadySweep:
    """Sweeps left-overs, unless the clock was set since the last time.

    How old files are is told by the clock on the wall. Where it was set forward, what was written a
    moment ago, its row about to follow, would be taken for a left-over.
    """

    def __init__(
        self,
        work: Callable[[], object],
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: machine_steady()[1],
    ) -> None:
        self._work, self._clock, self._steady = work, clock, steady
        self._ahead = self._now()

    def __call__(self) -> None:
        """Sweep, or leave it to the next time."""
        ahead, before = self._now(), self._ahead
        self._ahead = ahead
        if abs(ahead - before) < _SETTLED_SECONDS:
            self._work()

    def _now(self) -> float:
        return self._clock() - self._steady()


class SweptLedger(Upkeep, Arrivals, Protocol):
    """What the spool's files are compared with, and taken in to."""


class AgeingLedger(Forgetting, Alarms, Protocol):
    """What goes by its age alone."""


class KeptLedger(SweptLedger, AgeingLedger, Ailments, Protocol):
    """Everything that has an end, and what was found wrong."""


def sweep(
    ledger: SweptLedger,
    spool: Spool,
    log: Log,
    settings: Settings | None = None,
    fullness: Fullness | None = None,
) -> None:
    """Remove interrupted writes; take in received files whose row a crash prevented."""
    door = FrontDoor.of(settings or Settings(), spool, ledger, log)
    named_bytes = ledger.stored_bytes()
    swept = spool.sweep(ledger.digests_of_shard)
    if swept.removed_files:
        log.event("spool.swept", files=swept.removed_files, bytes=swept.removed_bytes)
    left = (each for each in swept.unknown if take_left_over(door, each) == "left")
    left_bytes = sum(each.size_bytes for each in left)
    if fullness is not None:
        fullness.found(swept.named_bytes + left_bytes, named_bytes)


def take_left_over(door: FrontDoor, unknown: Stored) -> Literal["adopted", "removed", "left"]:
    """Take in or remove a file without a row; return what was done, "left" where neither could."""
    try:
        return "adopted" if _adopt(door, unknown.digest) else "removed"
    except (ImageError, StoreError, *_OF_ONE_FILE, *CAN_RAISE) as error:
        known = isinstance(error, NodeError)
        door.log.event(
            "spool.left",
            digest=unknown.digest,
            reason=str(error) if known else place_of(error),
            remedy="Move the file out of data_dir if nothing else needs it.",
        )
        return "left"


def _adopt(door: FrontDoor, digest: Digest) -> bool:
    """Take in a received file; remove what is a result or a map of an unfinished study.

    Returns whether it was received. Raises like `FrontDoor.take_file`.
    """
    data = _received(door.spool, digest)
    adopted = None
    if data is not None:
        arrival = _taken_in(door, digest, data)
        adopted = arrival.digest
        door.log.event(
            "spool.adopted",
            sop_instance_uid=arrival.sop_instance_uid,
            digest=adopted,
            calling_ae_title=arrival.origin.calling_ae_title,
        )
    if adopted != digest:
        door.spool.remove(digest, min_age_seconds=_SETTLED_SECONDS)
    return adopted is not None


def _taken_in(door: FrontDoor, digest: Digest, data: bytes) -> Arrival:
    """Take a file in as from everybody who had sent it; of files of an earlier release nobody is
    known.
    """
    first, *others = door.spool.comings(digest) or (None,)
    origin = _UNKNOWN if first is None else first.origin
    arrival = door.take_file(data, origin, came=first).arrival
    for each in others:
        door.take_file(data, each.origin, came=each)
    return arrival


def _received(spool: Spool, digest: Digest) -> bytes | None:
    """Return the bytes of a file that came from outside; None of what the node wrote itself.

    Raises like `Spool.read`: a film that cannot be read now is no reason to remove it.
    """
    data = spool.read(digest)
    if data[128:132] != b"DICM":
        return None
    made_by = text(read_attributes(data), "Manufacturer")
    return None if made_by == MANUFACTURER else data


def self_test(configuration: Configuration, log: Log, ledger: Ailments) -> None:
    """Let each bundle prove itself, in a process of its own: this one never loads a network.

    What was found is told by the monitor until the next time.

    Of a bundle that declares what it says the files are held against the manifest's digests.
    """
    settings = configuration.settings
    own = verified(configuration, own_bundles(settings))
    faults = {str(answer["id"]): None if answer["well"] else answer["fault"] for answer in own}
    for bundle in declared_bundles(settings):
        faults[bundle.id] = _damage(bundle)
    for network, fault in faults.items():
        name = "self_test.passed" if fault is None else "self_test.failed"
        log.event(name, network=network, **({} if fault is None else {"reason": fault}))
        ledger.found(AlarmKind.SELF_TEST, network, fault)
    ledger.found_only(AlarmKind.SELF_TEST, faults)


def _damage(bundle: Declared) -> str | None:
    try:
        check_declared_weights(bundle)
    except BundleDamaged as error:
        return f"{error} {error.remedy}"
    return None


def verified(configuration: Configuration, bundles: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return what `models verify --json` says of some bundles of our own networks.

    Raises `NodeError` where it gives no answer.
    """
    if not bundles:
        return ()
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
