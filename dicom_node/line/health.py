"""How the node is: each role's last sign of life, the disk, the work that waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from dicom_node.ledger import Workers
from dicom_node.line.alarm_words import shipped_or_own_wording
from dicom_node.records import ROLES, RUNS, SUPERVISOR, Alarm, RoleHealth, WorkerBeat
from dicom_node.settings import Configuration
from dicom_node.settings.certificates import Dates, certificates
from dicom_node.spool import Spool

_SILENT_SECONDS, _STARTING_SECONDS = 10.0, 120.0
"""A process that starts says nothing before its imports are done."""

_LONG_WORK = ("analyse", "report")
"""Roles that may be at one film or object for long: their lease is the measure."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """How the node is, in sentences. ``certificates``: until when each is good, by its key."""

    well: bool
    roles: tuple[RoleHealth, ...]
    disk: str
    work: str
    starting: bool = False
    certificates: Mapping[str, str] = field(default_factory=dict)
    alarms: tuple[ToldAlarm, ...] = ()


@dataclass(frozen=True, slots=True)
class ToldAlarm:
    """An alarm that has not ended, in the site's words."""

    kind: str
    subject: str
    since: datetime
    title: str
    sentence: str


@dataclass(frozen=True, slots=True)
class NotWell:
    """One reason why the node is not well; no patient data. ``what``: role, disk, certificate."""

    what: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """The whole node: the roles that its supervisors run, or all where none runs."""

    roles: tuple[RoleHealth, ...]
    free_bytes: int
    room: bool
    counts: dict[str, int]
    certificates: tuple[Dates, ...] = ()
    alarms: tuple[ToldAlarm, ...] = ()

    @property
    def well(self) -> bool:
        """Whether every role works, there is room to receive, and no certificate has expired."""
        return self._house_is_well and all(role.well for role in self.roles)

    @property
    def reasons(self) -> tuple[NotWell, ...]:
        """Return why the node is not well: nothing where it is."""
        now = datetime.now(UTC)
        roles = (NotWell("role", role.name, role.sentence) for role in self.roles if not role.well)
        disk = () if self.room else (NotWell("disk", "spool", self.disk_sentence),)
        bad = (found for found in self.certificates if not found.is_good(now))
        return (*roles, *disk, *(NotWell("certificate", f.name, f.sentence(now)) for f in bad))

    @property
    def starting(self) -> bool:
        """Whether nothing is amiss but that roles have not finished starting."""
        roles = all(role.well or role.starting for role in self.roles)
        return self._house_is_well and roles and not self.well

    @property
    def _house_is_well(self) -> bool:
        now = datetime.now(UTC)
        return self.room and all(found.is_good(now) for found in self.certificates)

    @property
    def certificate_sentences(self) -> dict[str, str]:
        """Return until when each certificate is good, for a person, by its key."""
        now = datetime.now(UTC)
        return {found.name: found.sentence(now) for found in self.certificates}

    @property
    def disk_sentence(self) -> str:
        """Return how much room is left, for a person."""
        free = f"{self.free_bytes / 1e9:.1f} GB free"
        return free if self.room else f"{free}: receiving is refused until space is freed"

    @property
    def work_sentence(self) -> str:
        """Return what waits, for a person."""

        def counted(one: str, many: str, *states: str) -> str:
            number = sum(self.counts.get(state, 0) for state in states)
            return f"{number} {one if number == 1 else many}"

        return ", ".join(
            (
                counted(
                    "film to analyse",
                    "films to analyse",
                    "instances.received",
                    "instances.admitted",
                ),
                counted("study to report", "studies to report", "studies.open", "studies.quiet"),
                counted("result to deliver", "results to deliver", "deliveries.waiting"),
                counted(
                    "delivery parked",
                    "deliveries parked",
                    "deliveries.refused",
                    "deliveries.expired",
                ),
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        now = datetime.now(UTC)
        return {
            "well": self.well,
            "starting": self.starting,
            "roles": {
                role.name: {
                    "well": role.well,
                    "starting": role.starting,
                    "sentence": role.sentence,
                    "workers": role.workers,
                }
                for role in self.roles
            },
            "certificates": {
                found.name: {
                    "well": found.is_good(now),
                    "days": found.days_left(now),
                    "begins_at": found.begins.isoformat(),
                    "ends_at": found.ends.isoformat(),
                    "sentence": found.sentence(now),
                }
                for found in self.certificates
            },
            "alarms": [
                {
                    "alarm": alarm.kind,
                    "subject": alarm.subject,
                    "since": alarm.since.isoformat(),
                    "title": alarm.title,
                    "sentence": alarm.sentence,
                }
                for alarm in self.alarms
            ],
            "disk": {"free_bytes": self.free_bytes, "room": self.room},
            "counts": self.counts,
        }


def health_of(ledger: Workers, configuration: Configuration, *, counted: bool = True) -> NodeHealth:
    """Return how the node is, from its ledger and disk alone; not ``counted``: without rows."""
    now = ledger.moment()
    beats = ledger.beats()
    lease_seconds = configuration.settings.analysis.lease_seconds
    free = Spool(configuration.spool_path).free_bytes()
    return NodeHealth(
        tuple(
            _role(name, [beat for beat in beats if beat.worker.role == name], now, lease_seconds)
            for name in roles_run(beats)
        ),
        free,
        free >= configuration.settings.node.min_free_bytes,
        ledger.counts() if counted else {},
        certificates(configuration.settings),
        _told(ledger.alarms_up(), configuration),
    )


def roles_run(beats: Sequence[WorkerBeat]) -> tuple[str, ...]:
    """Return the roles that the supervisors on this ledger run; all where none runs."""
    told = (
        (beat.detail or "").removeprefix(RUNS).split(",")
        for beat in beats
        if beat.role == SUPERVISOR and beat.state == "working"
    )
    named = {name for names in told for name in names}
    return tuple(name for name in ROLES if name in named) or ROLES


def _told(alarms: Sequence[Alarm], configuration: Configuration) -> tuple[ToldAlarm, ...]:
    if not alarms:
        return ()
    words = shipped_or_own_wording(configuration)
    return tuple(
        ToldAlarm(each.kind, each.subject, each.risen_at, words.title(each), words.sentence(each))
        for each in alarms
    )


def port_of(ledger: Workers, role: str) -> int | None:
    """Return the port on which a role said that it listens, if it did."""
    for beat in ledger.beats():
        if beat.worker.role == role and (beat.detail or "").startswith("port="):
            return int((beat.detail or "").removeprefix("port="))
    return None


def _role(
    name: str, beats: Sequence[WorkerBeat], now: datetime, lease_seconds: float
) -> RoleHealth:
    """Return how a role is: as the worst of its workers."""
    if not beats:
        return RoleHealth(name, well=False, sentence="never started")
    usual = lease_seconds if name in _LONG_WORK else _SILENT_SECONDS
    limits = {"starting": max(usual, _STARTING_SECONDS)}
    found = [_worker(name, beat, now, limits.get(beat.state, usual)) for beat in beats]
    number, worst = min(enumerate(found, 1), key=lambda item: (item[1].well, item[1].starting))
    if len(found) == 1:
        return worst
    many = f"{len(found)} workers" if worst.well else f"worker {number} of {len(found)}"
    return replace(worst, sentence=f"{many}: {worst.sentence}", workers=len(found))


def _worker(name: str, beat: WorkerBeat, now: datetime, limit_seconds: float) -> RoleHealth:
    silent = (now - beat.beat_at).total_seconds()
    if beat.state == "stopped":
        why = f": {beat.detail}" if beat.detail else ""
        return RoleHealth(name, well=False, sentence=f"stopped {silent:.0f} s ago{why}")
    if silent > limit_seconds:
        return RoleHealth(name, well=False, sentence=f"no sign of life for {silent:.0f} s")
    detail = f" ({beat.detail})" if beat.detail else ""
    starting = beat.state == "starting"
    sentence = f"{beat.state}{detail}"
    return RoleHealth(name, well=beat.state == "working", sentence=sentence, starting=starting)
