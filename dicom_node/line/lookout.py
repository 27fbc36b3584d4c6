"""What a monitor is answered: whether the node lives, whether it can work, and its numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dicom_node.errors import Unavailable
from dicom_node.line.health import NotWell, health_of
from dicom_node.line.metrics import NodeLedger, metrics_of
from dicom_node.records import SUPERVISOR, Worker, WorkerBeat
from dicom_node.settings import Configuration, Remote

_SUPERVISOR_SECONDS = 60.0
"""A supervisor beats every five seconds; one that is so far behind this process hangs."""

_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class MonitorAnswer:
    """An answer: its HTTP status, media type and bytes."""

    status: int
    media_type: str
    body: bytes


class Lookout:
    """Answers for one node. ``parent``: the process id of this process's supervisor.

    The ledger is given later: this process answers before it can be opened.
    """

    def __init__(
        self,
        configuration: Configuration,
        remotes: Callable[[], Mapping[str, Remote]],
        worker: Worker,
        parent: int,
    ) -> None:
        self._configuration, self._remotes = configuration, remotes
        self._worker, self._parent = worker, parent
        self._ledger: NodeLedger | None = None

    def furnish(self, ledger: NodeLedger) -> None:
        """Answer from this ledger from now on."""
        self._ledger = ledger

    def healthz(self) -> MonitorAnswer:
        """Tell whether the supervisor and this process live; 503 where the first does not."""
        reasons = []
        if os.getppid() != self._parent:
            reasons.append(NotWell("process", SUPERVISOR, "it is gone"))
        elif (behind := self._behind()) > _SUPERVISOR_SECONDS:
            why = f"it has not looked after its roles for {behind:.0f} s"
            reasons.append(NotWell("process", SUPERVISOR, why))
        return _told("alive", reasons)

    def readyz(self) -> MonitorAnswer:
        """Tell whether the node works, as `dicom-node health` does; 503 with reasons where not."""
        if self._ledger is None:
            return _told("ready", [NotWell("ledger", "ledger", "it cannot be opened yet")])
        try:
            health = health_of(self._ledger, self._configuration, counted=False)
        except Unavailable as error:
            return _told("ready", [NotWell("ledger", "ledger", error.message)])
        return _told("ready", list(health.reasons), starting=health.starting)

    def metrics(self, accept: str) -> MonitorAnswer:
        """Tell every metric, in the format that ``accept`` (a header) asks for."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(
            _Once(metrics_of(self._ledger, self._configuration, set(self._remotes())))
        )
        encode, media_type = choose_encoder(accept)
        return MonitorAnswer(200, media_type, encode(registry))

    def _behind(self) -> float:
        """Return by how many seconds the supervisor's sign of life is older than our own.

        Where the ledger takes none, both are old; where it cannot be read, nothing is known.
        """
        if self._ledger is None:
            return 0.0
        try:
            beats = self._ledger.beats()
        except Unavailable:
            return 0.0
        own = _latest(beat for beat in beats if beat.worker.token == self._worker.token)
        supervisor = _latest(
            beat for beat in beats
            if beat.role == SUPERVISOR and self._worker.role in (beat.detail or self._worker.role)
        )  # fmt: skip
        if own is None or supervisor is None:
            return 0.0
        return (own - supervisor).total_seconds()


def _latest(beats: Iterable[WorkerBeat]) -> datetime | None:
    return max((beat.beat_at for beat in beats), default=None)


def _told(what: str, reasons: list[NotWell], **more: object) -> MonitorAnswer:
    document = {what: not reasons, **more, "reasons": [asdict(reason) for reason in reasons]}
    body = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return MonitorAnswer(503 if reasons else 200, _JSON, body.encode())


class _Once(Collector):
    """What was gathered for one scrape."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families
