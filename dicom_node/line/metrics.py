"""What the node tells a monitor in numbers, by Prometheus' client.

Every number is the ledger's, the disk's or a certificate's: this process remembers none, so that no
restart of any role begins a count anew. No label holds what a stranger chose: AE titles are those
of the AE table, others are counted together.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from dicom_node import __version__
from dicom_node.errors import Unavailable
from dicom_node.ledger import Ailments, Alarms, Troubles, Watched, Workers
from dicom_node.ledger.watching import LAST_STEP, OTHER_TITLES, STEPS
from dicom_node.line.health import health_of
from dicom_node.line.tallied import ASSOCIATIONS_OPEN, OTHER_REASON, REJECTIONS
from dicom_node.records import (
    ROLES,
    AlarmKind,
    DeliveryState,
    InstanceState,
    Queue,
    StageTimes,
    StudyState,
    WorkerBeat,
)
from dicom_node.settings import Configuration
from dicom_node.settings.certificates import certificates


class NodeLedger(Watched, Troubles, Workers, Ailments, Alarms, Protocol):
    """What a monitor asks of the ledger."""


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One metric: its name (of a counter without ``_total``), type, labels and meaning."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str


def _kind(
    name: str, kind: Literal["gauge", "counter", "histogram"], labels: str, meaning: str
) -> MetricKind:
    return MetricKind(f"dicom_node_{name}", kind, tuple(labels.split()), meaning)


METRICS = (
    _kind("info", "gauge", "version ae_title", "1, with the node's version and AE title."),
    _kind("well", "gauge", "", "1 where `/readyz` answers 200 and `health` exits with 0."),
    _kind("ledger_up", "gauge", "", "1 where the ledger can be read."),
    _kind("scrape_seconds", "gauge", "", "How long these numbers took to gather."),
    _kind("uncounted_events", "gauge", "", "Events that the counters below do not have yet."),
    # roles
    _kind("role_well", "gauge", "role", "1 where every worker of a role that is run works."),
    _kind("role_workers", "gauge", "role", "Workers of a role."),
    _kind("role_beat_age_seconds", "gauge", "role", "Since the oldest last sign of life."),
    _kind("role_deaths", "counter", "role", "How often a process of a role died."),
    _kind("brain_workers", "gauge", "engine device", "Workers whose networks are warm."),
    _kind("self_test_passed", "gauge", "network", "1 where the last nightly self-test was passed."),
    # work
    _kind("instances", "gauge", "state", "Instances in each state."),
    _kind("studies", "gauge", "state", "Studies in each state."),
    _kind("deliveries", "gauge", "destination state", "Deliveries of each destination and state."),
    _kind("queue_length", "gauge", "role", "Films (intake, analyse) or studies that wait."),
    _kind("queue_oldest_seconds", "gauge", "role", "For how long the first of them waits."),
    _kind("outbox_waiting", "gauge", "destination", "Results that wait for a destination."),
    _kind("outbox_oldest_seconds", "gauge", "destination", "For how long the first of them waits."),
    _kind("outbox_failing", "gauge", "destination", "1 where the last try was in vain."),
    _kind("parked", "gauge", "destination", "Results not taken and not tried again (to 1000)."),
    _kind("quarantined", "gauge", "", "Films that stopped their worker twice (to 1000)."),
    _kind("last_received_timestamp_seconds", "gauge", "", "When anybody sent something last."),
    # counted
    _kind("received", "counter", "calling_ae_title", "Instances that came, by their sender."),
    _kind("duplicates", "counter", "", "Instances that came again with the same bytes."),
    _kind("conflicts", "counter", "", "Instances whose SOP Instance UID had other bytes."),
    _kind("instance_outcomes", "counter", "outcome", "What became of instances."),
    _kind("studies_reported", "counter", "", "Studies whose results were written."),
    _kind("delivery_outcomes", "counter", "destination outcome", "What became of deliveries."),
    _kind("stage_seconds", "histogram", "stage", "How long a stage took, see the table of stages."),
    # door
    _kind("associations", "counter", "outcome", "Associations asked for, and what became of them."),
    _kind("associations_open", "gauge", "", "Associations that are open."),
    _kind("rejections", "counter", "reason", "Associations rejected, by the cause."),
    _kind(
        "refusals", "counter", "status", "Instances not taken at any door, by their DIMSE status."
    ),
    # house
    _kind("disk_free_bytes", "gauge", "of", "Free space where spool and ledger are."),
    _kind("disk_size_bytes", "gauge", "of", "Size of these file systems."),
    _kind("disk_reserve_bytes", "gauge", "", "Below this free space receiving is refused."),
    _kind("stored_bytes", "gauge", "", "What films and results take."),
    _kind("ledger_bytes", "gauge", "", "What the ledger's file takes."),
    _kind("certificate_days", "gauge", "key", "Whole days until a certificate ends."),
    _kind("alarms", "gauge", "alarm", "Alarms that have not ended."),
    _kind("alarm_notices_waiting", "gauge", "channel", "Alarms that a channel has not taken yet."),
)
"""Everything that `/metrics` tells; docs/operate.md is made from it."""

STAGES: Mapping[str, str] = {
    "admit": "from received to admitted",
    "analyse": "from admitted to analysed",
    "report": "from the last film's end to results in the outbox, the quiet time included",
    "send": "from the outbox (or a person's approval) to the destination",
    "whole": "from the last film received to a result at its destination, without what a person"
    " held up or asked for again",
}
_INSTANCE_OUTCOMES = ("admitted", "declined", "analysed", "failed", "quarantined")
_DELIVERY_OUTCOMES = ("sent", "postponed", "refused", "expired", "committed")
_ASSOCIATIONS = {
    "accepted": "association.accepted",
    "rejected": "association.rejected",
    "limited": "association.limit",
    "dropped": "association.dropped",
    "lost": "association.lost",
    "tls_failed": "tls.handshake_failed",
}
_DELIVERY_STATES = (*DeliveryState, "held", "not_accepted")


class Sheet:
    """The metrics of one scrape, each family there even where nothing is told of it."""

    def __init__(self) -> None:
        self._numbers = {each.name: _family(each) for each in METRICS if each.kind != "histogram"}
        self._times = {
            each.name: HistogramMetricFamily(each.name, each.meaning, labels=each.labels)
            for each in METRICS
            if each.kind == "histogram"
        }

    def tell(self, name: str, value: float, *labels: str) -> None:
        """Add a number to a gauge or counter."""
        self._numbers[f"dicom_node_{name}"].add_metric(labels, value)

    def tell_all(self, name: str, values: Mapping[str, float]) -> None:
        """Add a number for each value of the one label."""
        for label, value in values.items():
            self.tell(name, value, label)

    def tell_times(self, name: str, stage: str, steps: Mapping[float, StageTimes]) -> None:
        """Add a histogram; each step of it counts those below too."""
        buckets, many = [], 0
        for at_most in (*STEPS, LAST_STEP):
            many += steps[at_most].number if at_most in steps else 0
            bound = "+Inf" if at_most == LAST_STEP else str(at_most)
            buckets.append((bound, float(many)))
        seconds = sum(step.seconds for step in steps.values())
        self._times[f"dicom_node_{name}"].add_metric([stage], buckets, seconds)

    def families(self) -> list[Metric]:
        """Return what was told, in the order of `METRICS`."""
        all_of_them: dict[str, Metric] = {**self._numbers, **self._times}
        return [all_of_them[each.name] for each in METRICS]


def metrics_of(
    ledger: NodeLedger | None, configuration: Configuration, known: Collection[str]
) -> list[Metric]:
    """Return every metric now; ``known``: the AE titles of the AE table.

    Where the ledger cannot be read, what disk and certificates tell is told without it.
    """
    begun, sheet = time.monotonic(), Sheet()
    node = configuration.settings.node
    sheet.tell("info", 1, __version__, node.ae_title)
    _tell_house(sheet, configuration)
    up = False
    if ledger is not None:
        try:
            for part in _of_ledger(ledger, configuration, known):
                part(sheet)
            up = True
        except Unavailable:
            pass  # it is told by `ledger_up`, and the log of every role
    sheet.tell("ledger_up", int(up))
    sheet.tell("scrape_seconds", time.monotonic() - begun)
    return sheet.families()


class _Part(Protocol):
    def __call__(self, sheet: Sheet) -> None: ...


def _of_ledger(
    ledger: NodeLedger, configuration: Configuration, known: Collection[str]
) -> Iterator[_Part]:
    totals, now = ledger.totals(), ledger.moment()
    yield lambda sheet: _tell_roles(sheet, ledger, configuration)
    yield lambda sheet: _tell_states(sheet, ledger, known)
    yield lambda sheet: _tell_queues(sheet, ledger, now, known)
    yield lambda sheet: _tell_counts(sheet, totals, known)
    yield lambda sheet: _tell_door(sheet, totals)
    yield lambda sheet: _tell_stages(sheet, ledger.stage_times())
    yield lambda sheet: _tell_troubles(sheet, ledger, known)
    yield lambda sheet: sheet.tell("stored_bytes", ledger.stored_bytes())
    yield lambda sheet: sheet.tell("uncounted_events", ledger.uncounted())


def _tell_house(sheet: Sheet, configuration: Configuration) -> None:
    now = datetime.now(UTC)
    sheet.tell("disk_reserve_bytes", configuration.settings.node.min_free_bytes)
    for what, path in (("spool", configuration.spool_path), ("ledger", configuration.data_dir)):
        try:
            found = os.statvfs(path)
        except OSError:
            continue  # not there, or not now: told by role_well
        sheet.tell("disk_free_bytes", found.f_bavail * found.f_frsize, what)
        sheet.tell("disk_size_bytes", found.f_blocks * found.f_frsize, what)
    if configuration.ledger_path.exists():
        sheet.tell("ledger_bytes", configuration.ledger_path.stat().st_size)
    for found_ in certificates(configuration.settings):
        sheet.tell("certificate_days", found_.days_left(now), found_.name)


def _tell_roles(sheet: Sheet, ledger: NodeLedger, configuration: Configuration) -> None:
    health, now, beats = (
        health_of(ledger, configuration, counted=False),
        ledger.moment(),
        ledger.beats(),
    )
    sheet.tell("well", int(health.well))
    for role in health.roles:
        own = [beat for beat in beats if beat.role == role.name]
        sheet.tell("role_well", int(role.well), role.name)
        sheet.tell("role_workers", len(own), role.name)
        if own:
            oldest = min(beat.beat_at for beat in own)
            age = max((now - oldest).total_seconds(), 0.0)
            sheet.tell("role_beat_age_seconds", age, role.name)
    for (engine, device), many in Counter(_brains(beats)).items():
        sheet.tell("brain_workers", many, engine, device)
    for ailment in ledger.ailments():
        if ailment.kind == AlarmKind.SELF_TEST:
            sheet.tell("self_test_passed", int(ailment.reason is None), ailment.subject)


def _brains(beats: Iterable[WorkerBeat]) -> Iterator[tuple[str, str]]:
    """Yield who computes and where, of each worker whose networks are warm; see roles/analyse."""
    for beat in beats:
        if beat.role == "analyse" and beat.state == "working" and beat.detail:
            engine, _, device = beat.detail.rpartition(", ")
            yield engine or "unknown", device


def _tell_states(sheet: Sheet, ledger: NodeLedger, known: Collection[str]) -> None:
    counts = ledger.counts()
    for thing, states in (("instances", InstanceState), ("studies", StudyState)):
        sheet.tell_all(thing, {state: counts.get(f"{thing}.{state}", 0) for state in states})
    told = Counter[tuple[str, str]]()
    for (destination, state), number in ledger.deliveries_by_destination().items():
        told[_title(destination, known), state] += number
    for title in sorted({title for title, _ in told}):
        for state in _DELIVERY_STATES:
            sheet.tell("deliveries", told[title, state], title, state)


def _tell_queues(sheet: Sheet, ledger: NodeLedger, now: datetime, known: Collection[str]) -> None:
    for queue in ledger.queues():
        sheet.tell("queue_length", queue.waiting, queue.name)
        sheet.tell("queue_oldest_seconds", _age(queue, now), queue.name)
    by_title: dict[str, list[Queue]] = {}
    for queue in ledger.outbox_queues():
        by_title.setdefault(_title(queue.name, known), []).append(queue)
    for title, queues in by_title.items():
        sheet.tell("outbox_waiting", sum(queue.waiting for queue in queues), title)
        sheet.tell("outbox_oldest_seconds", max(_age(queue, now) for queue in queues), title)
        sheet.tell("outbox_failing", int(any(queue.failing for queue in queues)), title)
    if (last := ledger.last_received()) is not None:
        sheet.tell("last_received_timestamp_seconds", last.timestamp())


def _age(queue: Queue, now: datetime) -> float:
    return 0.0 if queue.since is None else max((now - queue.since).total_seconds(), 0.0)


def _title(ae_title: str, known: Collection[str]) -> str:
    return ae_title if ae_title in known else OTHER_TITLES


def _tell_counts(
    sheet: Sheet, totals: Mapping[tuple[str, str], int], known: Collection[str]
) -> None:
    received, sent = Counter[str](), Counter[tuple[str, str]]()
    for (what, subject), number in totals.items():
        thing, _, how = what.partition(".")
        if what == "instance.received":
            received[_title(subject, known)] += number
        elif thing == "delivery" and how in _DELIVERY_OUTCOMES:
            sent[_title(subject, known), how] += number
    sheet.tell_all("received", received)
    for title in sorted({title for title, _ in sent}):
        for how in _DELIVERY_OUTCOMES:
            sheet.tell("delivery_outcomes", sent[title, how], title, how)
    sheet.tell("duplicates", totals.get(("instance.duplicate", ""), 0))
    sheet.tell("conflicts", totals.get(("instance.conflict", ""), 0))
    sheet.tell("studies_reported", totals.get(("study.reported", ""), 0))
    outcomes = {how: totals.get((f"instance.{how}", ""), 0) for how in _INSTANCE_OUTCOMES}
    sheet.tell_all("instance_outcomes", outcomes)
    sheet.tell_all("role_deaths", {role: totals.get(("role.died", role), 0) for role in ROLES})


def _tell_door(sheet: Sheet, totals: Mapping[tuple[str, str], int]) -> None:
    summed, refused = Counter[str](), Counter[str]()
    for (what, subject), number in totals.items():
        summed[what] += number
        if what == "instance.refused":
            refused[subject] += number
    associations = {outcome: summed[what] for outcome, what in _ASSOCIATIONS.items()}
    sheet.tell_all("associations", associations)
    sheet.tell("associations_open", totals.get((ASSOCIATIONS_OPEN, ""), 0))
    for reason in (*REJECTIONS.values(), OTHER_REASON):
        sheet.tell("rejections", totals.get(("association.rejected", reason), 0), reason)
    sheet.tell_all("refusals", refused)


def _tell_stages(sheet: Sheet, times: Sequence[StageTimes]) -> None:
    for stage in STAGES:
        steps = {step.at_most: step for step in times if step.stage == stage}
        sheet.tell_times("stage_seconds", stage, steps)


def _tell_troubles(sheet: Sheet, ledger: NodeLedger, known: Collection[str]) -> None:
    parked = Counter[str]()
    for destination, number in ledger.parked_by_destination().items():
        parked[_title(destination, known)] += number
    sheet.tell_all("parked", parked)
    sheet.tell("quarantined", ledger.quarantined_films())
    up = Counter(alarm.kind for alarm in ledger.alarms_up())
    sheet.tell_all("alarms", {kind: up[kind] for kind in AlarmKind})
    sheet.tell_all("alarm_notices_waiting", ledger.untold())


def _family(each: MetricKind) -> CounterMetricFamily | GaugeMetricFamily:
    if each.kind == "counter":
        return CounterMetricFamily(each.name, each.meaning, labels=each.labels)
    return GaugeMetricFamily(each.name, each.meaning, labels=each.labels)
