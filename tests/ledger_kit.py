"""What the tests of the ledger share: a clock, arrivals, and rows brought to any state."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dicom_node.ledger import open_ledger
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import (
    Arrival,
    Delivery,
    DeliveryState,
    Digest,
    Instance,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
    Study,
    StudyState,
)

WORKER = "worker:1"


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        open_ledger(path, who="test").close()
        return path.read_bytes()


def fresh_ledger(path: Path, **how: Any) -> SqliteLedger:
    """Return a new ledger at ``path``, ``how`` as for `open_ledger`.

    It is a copy of an empty one: to make the tables each time would take most tests longer than
    what they are about.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    path.chmod(0o600)
    return open_ledger(path, **how)


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float = 0, **more: float) -> None:
        self.now += timedelta(seconds=seconds, **more)


def digest_of(text: str) -> Digest:
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def arrival(
    number: int = 1, *, study: int | None = None, content: str = "", sender: str = "PACS"
) -> Arrival:
    """Return the arrival of film ``number``; each is a study of its own unless ``study`` says."""
    study = number if study is None else study
    return Arrival(
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=f"1.3.{study}",
        series_instance_uid=f"1.4.{number}",
        digest=digest_of(content or f"film {number}"),
        size_bytes=1000,
        origin=Origin(sender, "DICOMNODE", "127.0.0.1"),
    )


def result(name: str = "sr", *, digest: Digest | None = None, uid: str = "") -> ResultObject:
    """Return a result object, alone in its group."""
    return ResultObject(
        group=name,
        kind=ObjectKind.REPORT,
        sop_instance_uid=uid or f"2.25.{int(digest_of(name)[:8], 16)}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        series_instance_uid="2.25.7",
        digest=digest or digest_of(f"result {name}"),
        size_bytes=10,
    )


def parcels(*names: str, to: Sequence[str] = ("PACS",)) -> list[Outgoing]:
    return [Outgoing(destination, (result(name),)) for destination in to for name in names]


def claim(ledger: SqliteLedger, state: InstanceState, worker: str = WORKER) -> Instance:
    (taken,) = ledger.claim_instances(state, worker, 60, 1)
    return taken


def claim_study(ledger: SqliteLedger, worker: str = WORKER) -> Study:
    study = ledger.claim_quiet_study(worker, 60)
    assert study is not None
    return study


def claim_delivery(ledger: SqliteLedger, worker: str = WORKER) -> Delivery:
    (taken,) = ledger.claim_deliveries(worker, 60, 1)
    return taken


def instance_in(ledger: SqliteLedger, state: InstanceState, number: int = 1) -> Instance:
    """Return a new instance that went to ``state`` the usual way; nobody holds it."""
    received = ledger.received(arrival(number))
    steps: dict[InstanceState, Sequence[Callable[[SqliteLedger], None]]] = {
        InstanceState.RECEIVED: (),
        InstanceState.DECLINED: (decline,),
        InstanceState.ADMITTED: (admit,),
        InstanceState.ANALYSED: (admit, analyse),
        InstanceState.FAILED: (fail,),
    }
    for step in steps[state]:
        step(ledger)
    return ledger.instance(received.instance_id)


def admit(ledger: SqliteLedger) -> None:
    ledger.admitted(claim(ledger, InstanceState.RECEIVED).id, WORKER, "PA")


def decline(ledger: SqliteLedger) -> None:
    ledger.declined(claim(ledger, InstanceState.RECEIVED).id, WORKER, "a hand")


def fail(ledger: SqliteLedger) -> None:
    ledger.failed(claim(ledger, InstanceState.RECEIVED).id, WORKER, "truncated")


def analyse(ledger: SqliteLedger, saliency: Digest | None = None) -> None:
    ledger.analysed(claim(ledger, InstanceState.ADMITTED).id, WORKER, "{}", saliency)


def report(ledger: SqliteLedger, *names: str, signature: str = "s", **options: Any) -> int:
    """Write results ``names`` of the one quiet study."""
    study = claim_study(ledger)
    outgoing = parcels(*names, **options)
    return ledger.reported(study, WORKER, outgoing, keep_hours=1, signature=signature)


def study_in(ledger: SqliteLedger, state: StudyState, number: int = 1) -> Study:
    """Return a new study with one analysed film that went to ``state`` the usual way."""
    instance = instance_in(ledger, InstanceState.ANALYSED, number)
    if state is not StudyState.OPEN:
        ledger.quieten(0)
    if state is StudyState.REPORTED:
        report(ledger, f"sr {number}")
    return ledger.study(instance.study_id)


def delivery_in(ledger: SqliteLedger, state: DeliveryState, number: int = 1) -> Delivery:
    """Return a new delivery that went to ``state`` the usual way."""
    study = study_in(ledger, StudyState.REPORTED, number)
    (delivery,) = ledger.deliveries(study_id=study.id)
    if state in (DeliveryState.SENT, DeliveryState.COMMITTED):
        ledger.sent(claim_delivery(ledger).id, WORKER, 0)
    if state is DeliveryState.REFUSED:
        ledger.delivery_refused(claim_delivery(ledger).id, WORKER, "0xA900", 0xA900)
    if state is DeliveryState.EXPIRED:
        ledger.drop(delivery.id, "test")
    if state is DeliveryState.COMMITTED:
        # Storage commitment is not there yet.
        run(ledger, "update deliveries set state = 'committed' where id = ?", delivery.id)
    return ledger.delivery(delivery.id)


def run(ledger: SqliteLedger, sql: str, *values: object) -> list[Any]:
    """Execute one statement beside the ledger's methods."""
    return list(ledger._connection._sqlite.execute(sql, values).fetchall())


@contextmanager
def asked_of(ledger: SqliteLedger) -> Iterator[list[str]]:
    """Collect what this thread asks SQLite in a block, in transactions and outside."""
    asked = list[str]()
    connection = ledger._connection
    with connection._readers.borrowed() as reader:
        reader.set_trace_callback(asked.append)
    # Its reads get the connection that was given back last.
    connection._sqlite.set_trace_callback(asked.append)
    yield asked
    for each in (connection._sqlite, reader):
        each.set_trace_callback(None)


def dump(ledger: SqliteLedger) -> list[str]:
    """Return everything that is in the ledger."""
    tables = ("instances", "studies", "deliveries", "results", "origins", "events")
    return [str(tuple(row)) for name in tables for row in run(ledger, f"select * from {name}")]
