"""The ledger against a model of it in memory: any order of calls, crashes and expiries."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dicom_node.errors import LeaseLost, TransitionRefused
from dicom_node.ledger import open_ledger
from dicom_node.records import DeliveryState, InstanceId, InstanceState, Study, StudyState
from tests.ledger_kit import Clock, arrival, fresh_ledger, parcels

LEASE_SECONDS = 60
workers = st.sampled_from(["a", "b"])


@dataclass
class Row:
    """An instance, study or delivery as the model sees it."""

    state: str
    attempts: int = 0
    holder: str | None = None
    until: float = 0

    def free(self, now: float) -> bool:
        return self.holder is None or self.until <= now

    def lease(self, worker: str, now: float) -> None:
        self.attempts, self.holder, self.until = self.attempts + 1, worker, now + LEASE_SECONDS

    def move(self, state: str) -> None:
        self.state, self.attempts, self.holder = state, 0, None


@dataclass
class StudyRow(Row):
    """A study, its films' ids, its senders, and whom its results were posted to."""

    films: list[int] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    revision: int = 0
    signature: str = ""


class LedgerMachine(RuleBasedStateMachine):
    """Everything the roles do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        )
        self.clock, self.now = Clock(), 0.0
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.ledger = fresh_ledger(self.path, who="machine", clock=self.clock)
        self.films: dict[int, Row] = {}
        self.keys: dict[tuple[int, str], int] = {}
        self.studies: dict[int, StudyRow] = {}
        self.deliveries: dict[int, Row] = {}
        self.posted: set[tuple[str, str]] = set()
        self.held: Study | None = None

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    # What comes in

    @rule(number=st.integers(0, 3), content=st.sampled_from(["", "other"]), sender=workers)
    def receive(self, number: int, content: str, sender: str) -> None:
        study_id = self._study_of(number)
        told = self.ledger.received(
            arrival(
                number, study=number // 2, content=content and f"{content} {number}", sender=sender
            )
        )
        key = (number, content)
        assert told.duplicate == (key in self.keys)
        known = any(film == number for film, _ in self.keys)
        assert told.conflict == (known and not told.duplicate)
        study = self.studies.setdefault(study_id, StudyRow("open"))
        if not told.duplicate:
            self.keys[key] = told.instance_id
            self.films[told.instance_id] = Row("received")
            study.films.append(told.instance_id)
        assert told.instance_id == self.keys[key]
        self._note_sender(study, told.instance_id, sender, fresh=not told.duplicate)

    def _study_of(self, number: int) -> int:
        known = self.ledger.find_study(f"1.3.{number // 2}")
        return known.id if known else len(self.studies) + 1

    def _note_sender(self, study: StudyRow, film: int, sender: str, *, fresh: bool) -> None:
        pair = f"{film} {sender}"
        if (fresh or pair not in study.senders) and study.state != "open":
            study.move("open")
        if pair not in study.senders:
            study.senders.append(pair)

    # Films

    @rule(state=st.sampled_from(["received", "admitted"]), worker=workers, limit=st.integers(1, 3))
    def claim(self, state: str, worker: str, limit: int) -> None:
        taken = self.ledger.claim_instances(InstanceState(state), worker, LEASE_SECONDS, limit)
        assert [item.id for item in taken] == self._claimed(state, limit)
        for item in taken:
            assert item.attempts == self.films[item.id].attempts
            self.films[item.id].lease(worker, self.now)

    def _claimed(self, state: str, limit: int) -> list[int]:
        rows = self.films.items()
        free = [key for key, row in rows if row.state == state and row.free(self.now)]
        spent = [key for key in free if self.films[key].attempts >= 2]
        for key in spent:
            self.films[key].move("failed")
        taken: list[int] = []
        for key in [key for key in free if key not in spent][:limit]:
            if self.films[key].attempts == 1:
                return taken or [key]
            taken.append(key)
        return taken

    @precondition(lambda self: self.films)
    @rule(data=st.data(), worker=workers, good=st.booleans())
    def finish(self, data: st.DataObject, worker: str, good: bool) -> None:
        film = data.draw(st.sampled_from(sorted(self.films)))
        row, key = self.films[film], InstanceId(film)
        target = (
            {"received": "admitted", "admitted": "analysed"}.get(row.state) if good else "failed"
        )
        call = {
            "admitted": lambda: self.ledger.admitted(key, worker, "PA"),
            "analysed": lambda: self.ledger.analysed(key, worker, "{}", None),
            "failed": lambda: self.ledger.failed(key, worker, "why"),
        }[target or "failed"]
        if row.holder != worker:
            with pytest.raises(LeaseLost):
                call()
            return
        call()
        row.move(target or "failed")

    @precondition(lambda self: self.films)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        film = data.draw(st.sampled_from(sorted(self.films)))
        row = self.films[film]
        if row.state in ("received", "admitted"):
            with pytest.raises(TransitionRefused):
                self.ledger.asked_again(InstanceId(film), "me")
            return
        self.ledger.asked_again(InstanceId(film), "me")
        row.move("received")
        study = next(study for study in self.studies.values() if film in study.films)
        if study.state != "open":
            study.move("open")

    # Studies

    @rule()
    def quieten(self) -> None:
        told = {study.id for study in self.ledger.quieten(0)}
        expected = {
            key
            for key, study in self.studies.items()
            if study.state == "open"
            and not any(self.films[film].state in ("received", "admitted") for film in study.films)
        }
        assert told == expected
        for key in expected:
            self.studies[key].move("quiet")

    @rule(worker=workers)
    def claim_study(self, worker: str) -> None:
        study = self.ledger.claim_quiet_study(worker, LEASE_SECONDS)
        free = [
            key for key, row in self.studies.items() if row.state == "quiet" and row.free(self.now)
        ]
        if study is not None:
            assert study.id in free
            self.studies[study.id].lease(worker, self.now)
            self.held = study
        else:
            ended = [key for key in free if self.studies[key].attempts >= 3]
            assert bool(ended) == bool(free)
            for key in ended:
                if self.ledger.study(key).state is StudyState.REPORTED:  # type: ignore[arg-type]
                    self.studies[key].move("reported")

    @precondition(lambda self: self.held)
    @rule(worker=workers, signature=st.sampled_from(["s1", "s2"]))
    def report(self, worker: str, signature: str) -> None:
        study, self.held = self.held, None
        assert study is not None
        row = self.studies[study.id]
        names = [f"sr {study.id} {signature}"]
        to = sorted({pair.split()[1] for pair in row.senders})
        outgoing = parcels(*names, to=to)
        if row.state != "quiet" or row.holder != worker:
            with pytest.raises(LeaseLost):
                self.ledger.reported(study, worker, outgoing, keep_hours=1, signature=signature)
            return
        new = {(name, destination) for name in names for destination in to} - self.posted
        added = self.ledger.reported(study, worker, outgoing, keep_hours=1, signature=signature)
        assert added == len(new)
        self.posted |= new
        for delivery in self.ledger.deliveries(study_id=study.id):
            self.deliveries.setdefault(delivery.id, Row("waiting"))
        row.move("reported")
        row.revision += row.signature != signature
        row.signature = signature

    # Deliveries

    @rule(worker=workers, limit=st.integers(1, 2), busy=st.lists(workers, max_size=1))
    def claim_deliveries(self, worker: str, limit: int, busy: Sequence[str]) -> None:
        taken = self.ledger.claim_deliveries(worker, LEASE_SECONDS, limit, busy)
        assert len({(item.destination, item.study_id) for item in taken}) <= 1
        assert len(taken) <= limit
        for item in taken:
            row = self.deliveries[item.id]
            assert row.state == "waiting"
            assert row.free(self.now)
            assert item.destination not in busy
            row.lease(worker, self.now)

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), worker=workers, good=st.booleans())
    def deliver(self, data: st.DataObject, worker: str, good: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.deliveries)))
        row, delivery = self.deliveries[key], self.ledger.delivery(key)  # type: ignore[arg-type]
        call = (
            (lambda: self.ledger.sent(delivery.id, worker, 0))
            if good
            else (lambda: self.ledger.delivery_refused(delivery.id, worker, "why"))
        )
        if row.holder != worker:
            with pytest.raises(LeaseLost):
                call()
            return
        call()
        row.move("sent" if good else "refused")

    @rule()
    def expire(self) -> None:
        for item in self.ledger.expire_deliveries():
            row = self.deliveries[item.id]
            assert row.state == "waiting"
            assert row.free(self.now)
            row.move("expired")

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.deliveries)))
        delivery = self.ledger.delivery(key)  # type: ignore[arg-type]
        self.ledger.resend(delivery.id, "me", 1)
        if self.deliveries[key].state != "waiting":
            self.deliveries[key].move("waiting")

    # Time, stops, crashes, retention

    @rule(seconds=st.sampled_from([1, LEASE_SECONDS + 1, 4000]))
    def tick(self, seconds: int) -> None:
        self.clock.tick(seconds)
        self.now += seconds

    @rule(worker=workers, orderly=st.booleans())
    def worker_ends(self, worker: str, orderly: bool) -> None:
        if orderly:
            self.ledger.release(worker)
        else:
            self.ledger.orphaned(worker)
        for row in (*self.films.values(), *self.studies.values(), *self.deliveries.values()):
            if row.holder == worker and orderly:
                row.holder, row.attempts = None, max(row.attempts - 1, 0)
            elif row.holder == worker:
                row.until = min(row.until, self.now)

    @rule()
    def node_restarts(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.path, who="machine", clock=self.clock)

    @precondition(lambda self: self.studies)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.studies)))
        deliveries = self.ledger.deliveries(study_id=key)  # type: ignore[arg-type]
        done = self.studies[key].state == "reported" and all(
            self.deliveries[item.id].state == "sent" for item in deliveries
        )
        # Only what may not go is tried: the model does not shrink.
        if not done:
            assert self.ledger.forget(key) == []  # type: ignore[arg-type]
            assert self.ledger.removable(0, limit=100) == [
                study for study in self.ledger.removable(0, limit=100) if study.id != key
            ]

    @invariant()
    def every_row_is_where_the_model_says(self) -> None:
        films = {item.id: item for key in self.studies for item in self.ledger.instances(key)}  # type: ignore[arg-type]
        assert {key: item.state for key, item in films.items()} == {
            key: row.state for key, row in self.films.items()
        }
        for key, row in self.studies.items():
            study = self.ledger.study(key)  # type: ignore[arg-type]
            assert (study.state, study.revision) == (row.state, row.revision)
        told = {item.id: item.state for item in self.ledger.deliveries()}
        assert told == {key: DeliveryState(row.state) for key, row in self.deliveries.items()}

    @invariant()
    def what_is_stored_is_the_sum_of_the_rows(self) -> None:
        rows = [
            row
            for key in self.studies
            for row in (*self.ledger.instances(key), *self.ledger.results(key))  # type: ignore[arg-type]
        ]
        assert self.ledger.stored_bytes() == sum(row.size_bytes for row in rows)

    @invariant()
    def rows_are_counted_by_their_states(self) -> None:
        things = {"instances": self.films, "studies": self.studies, "deliveries": self.deliveries}
        assert self.ledger.counts() == Counter(
            f"{thing}.{row.state}"
            for thing, rows in things.items()
            for row in rows.values()  # type: ignore[attr-defined]
        )


def test_the_ledger_does_what_its_model_does() -> None:
    run_state_machine_as_test(
        LedgerMachine, settings=settings(max_examples=80, stateful_step_count=40)
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_ledger_does_what_its_model_does_for_long() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(max_examples=300, stateful_step_count=80, derandomize=False),
    )
