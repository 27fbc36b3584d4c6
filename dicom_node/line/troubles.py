"""What a person should be told of: found in the ledger, on the disk and in certificates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from dicom_node.ledger import Ailments, Troubles, Watched, Workers
from dicom_node.line.health import NodeHealth, health_of
from dicom_node.records import AlarmKind, Queue
from dicom_node.settings import Configuration
from dicom_node.settings.certificates import Dates

DEATHS_SECONDS = 600.0
_ROOM_AGAIN = 1.05
"""So much of the reserve must be free again before there is room: a disk at its edge swings."""

Key = tuple[AlarmKind, str]
"""What is wrong, and of what."""


class TroubledLedger(Watched, Troubles, Ailments, Workers, Protocol):
    """Where troubles are found."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now. ``facts``: what its text tells; no patient data."""

    kind: AlarmKind
    subject: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What is wrong, and of what."""
        return self.kind, self.subject


def troubles(
    ledger: TroubledLedger, configuration: Configuration, up: Collection[Key] = ()
) -> Iterator[Trouble]:
    """Yield what is wrong. Of what is in ``up`` already, the end is further than the beginning.

    Raises `Unavailable`.
    """
    health, now = health_of(ledger, configuration, counted=False), ledger.moment()
    yield from _disk(health, configuration, up)
    yield from _destinations(ledger, configuration, now, up)
    yield from _roles(ledger, configuration, health, up)
    yield from _no_film(ledger, configuration, now)
    for found in health.certificates:
        yield from _certificate(found)
    if films := ledger.quarantined_films():
        yield Trouble(AlarmKind.QUARANTINED, facts={"films": str(films)})
    for destination, number in ledger.parked_by_destination().items():
        yield Trouble(AlarmKind.PARKED, destination, {"deliveries": str(number)})
    for ailment in ledger.ailments():
        if ailment.reason is not None:
            yield Trouble(AlarmKind(ailment.kind), ailment.subject, {"reason": ailment.reason})


def _disk(
    health: NodeHealth, configuration: Configuration, up: Collection[Key]
) -> Iterator[Trouble]:
    reserve = configuration.settings.node.min_free_bytes
    wanted = reserve * _ROOM_AGAIN if (AlarmKind.DISK_RESERVE, "") in up else reserve
    if health.free_bytes < wanted:
        facts = {
            "free_gb": f"{health.free_bytes / 1e9:.1f}", "reserve_gb": f"{reserve / 1e9:.1f}",
            "data_dir": str(configuration.data_dir),
        }  # fmt: skip
        yield Trouble(AlarmKind.DISK_RESERVE, facts=facts)


def _destinations(
    ledger: TroubledLedger, configuration: Configuration, now: datetime, up: Collection[Key]
) -> Iterator[Trouble]:
    limit = configuration.settings.alarms.unreachable_minutes
    for queue in ledger.outbox_queues():
        minutes = _minutes(queue, now)
        # Once told, it ends when something is taken, or nothing waits: not by asking again.
        told = (AlarmKind.DESTINATION, queue.name) in up
        if queue.failing and queue.waiting and (told or minutes >= limit):
            facts = {"waiting": str(queue.waiting), "minutes": f"{minutes:.0f}"}
            yield Trouble(AlarmKind.DESTINATION, queue.name, facts)


def _minutes(queue: Queue, now: datetime) -> float:
    return (now - queue.since).total_seconds() / 60 if queue.since else 0.0


def _roles(
    ledger: TroubledLedger, configuration: Configuration, health: NodeHealth, up: Collection[Key]
) -> Iterator[Trouble]:
    many = configuration.settings.alarms.restarts
    for role, deaths in ledger.deaths(DEATHS_SECONDS).items():
        told = (AlarmKind.ROLE_RESTARTS, role) in up
        if deaths >= (1 if told else many):
            yield Trouble(AlarmKind.ROLE_RESTARTS, role, {"deaths": str(deaths)})
    for each in health.roles:
        if not (each.well or each.starting):
            yield Trouble(AlarmKind.ROLE_ILL, each.name, {"sentence": each.sentence})


def _no_film(
    ledger: TroubledLedger, configuration: Configuration, now: datetime
) -> Iterator[Trouble]:
    settings = configuration.settings
    last, hours = ledger.last_received(), settings.alarms.no_film_hours
    if hours and last is not None and (now - last).total_seconds() >= hours * 3600:
        told = f"{last.astimezone(settings.node.zone):%Y-%m-%d %H:%M}"
        yield Trouble(AlarmKind.NO_FILM, facts={"hours": f"{hours:g}", "last": told})


def _certificate(found: Dates) -> Iterator[Trouble]:
    now, day = datetime.now(UTC), f"{found.ends:%Y-%m-%d}"
    if not found.is_good(now):
        facts = {"begins": f"{found.begins:%Y-%m-%d}", "day": day}
        yield Trouble(AlarmKind.CERTIFICATE_BAD, found.name, facts)
    elif found.warns(now):
        facts = {"days": str(found.days_left(now)), "day": day}
        yield Trouble(AlarmKind.CERTIFICATE_ENDS, found.name, facts)
