"""Several films are in flight at once, and what becomes of them is kept together."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node import logs
from dicom_node.bundles.declared import open_declared
from dicom_node.errors import BrainUnavailable, DeviceUnavailable
from dicom_node.findings import Explanation, FilmFindings, Outcome
from dicom_node.ledger import Conclusion, open_ledger
from dicom_node.ledger.headlines import ListLine
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.analyse import Analyst
from dicom_node.line.flight import Crew, Flight, FlightPlan
from dicom_node.line.report import Reporter
from dicom_node.logs import Log
from dicom_node.observations import Observation, ObservationKind
from dicom_node.records import Digest, Instance, InstanceState
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from tests.declared_kit import SCORE, SCORE_OUTPUTS, declared_bundle
from tests.reporting_kit import TEMPLATE, WORKER, Node

pytestmark = pytest.mark.usefixtures("phantoms_drawn_once")

LONG = 60.0


@dataclass
class Brain:
    """Answers each film with the same findings, once ``ask`` has let it; counts who is in it."""

    ask: Callable[[str], object] = lambda uid: None
    at_once: int = 1
    asked: list[str] = field(default_factory=list)
    warmed: int = 0
    lost: bool = False

    def warm(self) -> None:
        self.warmed += 1
        if self.lost:
            raise RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE")

    def analyse(
        self, film: Any, uid: str, _asked: object = None
    ) -> tuple[FilmFindings, Explanation]:
        self.asked.append(uid)
        self.ask(uid)
        answered = preview_film()
        return replace(answered.findings, sop_instance_uid=uid), answered.explanation


class ReadSpool(Spool):
    """A spool that tells whom it was read for, and how many films are read and not yet packed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read_for: list[Digest] = []
        self.two_were_read = threading.Event()
        self.lock, self.open, self.most_open = threading.Lock(), 0, 0

    def read(self, digest: Digest) -> bytes:
        with self.lock:
            self.read_for.append(digest)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            if len(set(self.read_for)) == 2:
                self.two_were_read.set()
        return super().read(digest)

    def write(self, parts: Any) -> Any:
        with self.lock:
            self.open -= 1
        return super().write(parts)


@dataclass
class Desk:
    """An analysing role's work before a ledger with admitted films."""

    ledger: SqliteLedger
    spool: ReadSpool
    brain: Brain
    said: io.StringIO

    def admit(self, *numbers: int) -> None:
        cards = preview_context(TEMPLATE).networks
        reporter = Reporter(self.ledger, self.spool, Settings(), TEMPLATE, cards, WORKER, Log("a"))
        node = Node(self.ledger, self.spool, reporter)
        for number in numbers:
            node.receive(number, InstanceState.RECEIVED)
        for film in self.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99):
            self.ledger.admitted(film.id, WORKER, "PA")
        self.spool.open = self.spool.most_open = 0
        self.spool.read_for.clear()

    def analyst(self, batch: int = 8, **changes: Any) -> Analyst:
        settings = Settings.model_validate({"analysis": {"batch": batch}})
        analyst = Analyst(
            self.brain, self.ledger, self.spool, settings, WORKER, Log("analyse"),  # type: ignore[arg-type]
            linger_seconds=LONG,
        )  # fmt: skip
        return replace(analyst, **changes)

    def film(self, number: int) -> Instance:
        (film,) = self.ledger.find_instances(f"1.2.3.{number}")
        return film

    def states(self) -> list[str]:
        rows = self.ledger._connection.all("select state from instances order by id")
        return [row["state"] for row in rows]

    def told(self, event: str) -> list[str]:
        lines = map(json.loads, self.said.getvalue().splitlines())
        return sorted(line["sop_instance_uid"] for line in lines if line["event"] == event)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    ledger = open_ledger(tmp_path / "ledger.sqlite", who="analyse")
    yield Desk(ledger, ReadSpool(tmp_path / "spool"), Brain(), said)
    ledger.close()


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})


@pytest.mark.usefixtures("one_core")
def test_a_slow_brain_does_not_keep_the_next_film_from_being_read(desk: Desk) -> None:
    desk.admit(1, 2)
    desk.brain.ask = lambda uid: desk.spool.two_were_read.wait(LONG) or pytest.fail("nobody read")
    assert desk.analyst().work() == 2
    assert desk.states() == ["analysed", "analysed"]


@pytest.mark.usefixtures("one_core")
def test_no_more_films_are_read_than_are_in_flight(desk: Desk) -> None:
    desk.admit(1, 2, 3, 4, 5, 6)
    assert desk.analyst().work() == 6
    assert desk.states() == ["analysed"] * 6
    assert desk.spool.most_open <= 2
    desk.admit(11, 12, 13)
    assert desk.analyst(batch=1).work() == 3
    assert desk.spool.most_open == 1


def test_on_a_gpu_one_batch_is_read_while_another_is_answered(desk: Desk) -> None:
    desk.admit(1, 2, 3, 4)
    desk.brain.at_once, together = 4, threading.Barrier(4)
    desk.brain.ask = lambda uid: together.wait(LONG)
    assert desk.analyst(batch=2).work() == 4
    assert desk.states() == ["analysed"] * 4


def test_what_becomes_of_a_batch_is_one_commit(desk: Desk) -> None:
    desk.admit(1, 2, 3, 4)
    statements = list[str]()
    desk.ledger._connection._sqlite.set_trace_callback(statements.append)
    assert desk.analyst().work() == 4
    assert statements.count("commit") == 2, "the claim, and what became of the films"
    assert desk.told("instance.analysed") == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.4"]


def test_an_outcome_waits_for_others_only_a_moment(desk: Desk) -> None:
    desk.admit(1, 2)

    def one_of_two_is_kept(uid: str) -> None:
        kept = threading.Event()
        while uid == "1.2.3.2" and desk.film(1).state is not InstanceState.ANALYSED:
            kept.wait(0.01)

    desk.brain.ask = one_of_two_is_kept
    assert desk.analyst(linger_seconds=0.0).work() == 2
    assert desk.states() == ["analysed", "analysed"]


@pytest.mark.usefixtures("one_core")
def test_a_house_that_ails_stops_what_waits_and_what_flies_is_kept(desk: Desk) -> None:
    desk.admit(*range(1, 9))
    ailing = threading.Event()

    def ail(uid: str) -> None:
        if uid == "1.2.3.1":
            ailing.set()
            raise BrainUnavailable("The brain is gone.")
        assert ailing.wait(LONG)

    desk.brain.ask = ail
    with pytest.raises(BrainUnavailable):
        desk.analyst().work()
    answered = sorted(set(desk.brain.asked) - {"1.2.3.1"})
    assert 1 <= len(answered) < 7
    assert desk.told("instance.analysed") == answered
    desk.ledger.release(WORKER)
    for number in range(1, 9):
        film = desk.film(number)
        assert (film.state, film.attempts) == (
            InstanceState.ANALYSED if film.sop_instance_uid in answered else InstanceState.ADMITTED,
            0,
        )
    desk.brain.ask = lambda uid: None
    desk.analyst().work()
    assert desk.states() == ["analysed"] * 8


def test_a_film_whose_worker_died_flies_alone_with_all_else_in_the_ledger(desk: Desk) -> None:
    desk.admit(1, 2, 3, 4)
    desk.ledger._connection.run("update instances set attempts = 1 where id = :id",
                                id=desk.film(2).id)  # fmt: skip
    seen, before = list[tuple[str, list[str]]](), set[str]()

    def look(uid: str) -> None:
        before.add(uid)
        seen.append((uid, desk.states()))

    desk.brain.ask = look
    assert desk.analyst().work() == 4
    states = dict(seen)
    assert states["1.2.3.2"] == ["analysed", "admitted", "admitted", "admitted"]
    assert states["1.2.3.3"][:2] == states["1.2.3.4"][:2] == ["analysed", "analysed"]
    assert desk.brain.asked[:2] == ["1.2.3.1", "1.2.3.2"]


@pytest.mark.parametrize("died_once", [(2, 3, 4), (2,), (1, 2, 3, 4, 5)])
def test_a_film_that_ends_its_worker_counts_against_no_other_whose_worker_died_before(
    desk: Desk, died_once: tuple[int, ...]
) -> None:
    desk.admit(1, 2, 3, 4, 5)
    for number in died_once:
        desk.ledger._connection.run("update instances set attempts = 1 where id = :id",
                                    id=desk.film(number).id)  # fmt: skip
    suspects = {f"1.2.3.{number}" for number in died_once}
    looked = threading.Semaphore(0)
    held = dict[str, set[str]]()

    def look(uid: str) -> None:
        # Between two looks of the flight there is time to claim more.
        assert looked.acquire(timeout=LONG)
        assert looked.acquire(timeout=LONG)
        rows = desk.ledger._connection.all(
            "select sop_instance_uid from instances where lease_owner is not null"
        )
        held[uid] = {row["sop_instance_uid"] for row in rows}

    desk.brain.ask = look
    analyst = desk.analyst(pulse=looked.release)
    while analyst.work():
        pass
    assert desk.states() == ["analysed"] * 5
    assert all(held[uid] == {uid} for uid in suspects)
    assert not any(held[uid] & suspects for uid in held if uid not in suspects)


def test_a_lease_that_is_lost_costs_its_film_alone(desk: Desk) -> None:
    desk.admit(1, 2, 3)

    def steal(uid: str) -> None:
        if uid == "1.2.3.2":
            desk.ledger._connection.run("update instances set lease_owner = 'another' where"
                                        " sop_instance_uid = :uid", uid=uid)  # fmt: skip

    desk.brain.ask = steal
    assert desk.analyst().work() == 3
    assert desk.states() == ["analysed", "admitted", "analysed"]
    assert desk.told("instance.analysed") == ["1.2.3.1", "1.2.3.3"]


def test_the_ledger_keeps_what_became_of_films_but_for_those_that_are_lost_or_gone(
    desk: Desk,
) -> None:
    desk.admit(1, 2, 3)
    ledger = desk.ledger
    first, second, third = ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 3)
    ledger._connection.run("update instances set lease_owner = 'another' where id = :id",
                           id=second.id)  # fmt: skip
    findings = preview_film().findings.to_json_text()
    kept = ledger.concluded(
        WORKER,
        [
            Conclusion(first, InstanceState.ANALYSED, findings_json=findings),
            Conclusion(second, InstanceState.FAILED, "not ours"),
            Conclusion(replace(third, id=type(third.id)(999)), InstanceState.FAILED, "gone"),
            Conclusion(third, InstanceState.DECLINED, "a hand"),
        ],
    )
    assert kept == {first.id, third.id}
    assert desk.states() == ["analysed", "admitted", "declined"]
    assert ledger.instance(third.id).reason == "a hand"
    events = [event.what for event in ledger.events(instance_id=second.id)]
    assert "instance.failed" not in events


def test_an_outcome_that_cannot_be_written_costs_its_film_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.admit(1, 2, 3)
    as_text = FilmFindings.to_json_text
    monkeypatch.setattr(
        FilmFindings,
        "to_json_text",
        lambda told: "{" if told.sop_instance_uid == "1.2.3.2" else as_text(told),
    )
    assert desk.analyst().work() == 3
    assert desk.states() == ["analysed", "failed", "analysed"]


def test_a_device_that_is_lost_is_asked_once_and_no_film_pays(desk: Desk) -> None:
    desk.admit(1, 2, 3, 4)
    desk.brain.at_once, desk.brain.lost = 16, True

    def lost(uid: str) -> None:
        raise RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE")

    desk.brain.ask = lost
    with pytest.raises(DeviceUnavailable):
        desk.analyst().work()
    assert desk.brain.warmed == 1
    assert desk.states() == ["admitted"] * 4


def test_a_brain_that_goes_while_a_film_is_judged_is_no_fault_of_the_film(desk: Desk) -> None:
    desk.admit(1)

    def failed(uid: str) -> None:
        raise RuntimeError("A function failed elsewhere.")

    def gone() -> None:
        raise BrainUnavailable("Nobody answers.")

    desk.brain.ask, desk.brain.warm = failed, gone  # type: ignore[method-assign]
    with pytest.raises(BrainUnavailable):
        desk.analyst().work()
    assert desk.states() == ["admitted"]


def test_while_films_are_in_flight_there_is_a_pulse(desk: Desk) -> None:
    desk.admit(1)
    beats = threading.Semaphore(0)
    desk.brain.ask = lambda uid: [beats.acquire(timeout=LONG) or pytest.fail("no pulse")
                                  for _ in range(3)]  # fmt: skip
    assert desk.analyst(pulse=beats.release).work() == 1
    assert desk.states() == ["analysed"]


@pytest.mark.parametrize(("silence_seconds", "are_felt"), [(LONG, True), (0.0, False)])
def test_films_that_hang_have_no_pulse(
    desk: Desk, silence_seconds: float, *, are_felt: bool
) -> None:
    desk.admit(1)
    films, beats = [[desk.film(1)]], list[int]()
    crew: Crew[str] = Crew(
        claim=lambda _suspects: films.pop() if films else [],
        film=lambda film: film.sop_instance_uid,
        judge=lambda doubts: [],
        conclude=lambda done: None,
        pulse=lambda: beats.append(1),
        going_on=lambda: True,
    )
    assert Flight(crew, FlightPlan(1, 1, 1, LONG, silence_seconds)).fly() == 1
    assert bool(beats) is are_felt


@pytest.mark.usefixtures("one_core")
def test_who_is_asked_to_stop_ends_what_flies_and_starts_nothing_more(desk: Desk) -> None:
    desk.admit(*range(1, 9))
    desk.analyst(going_on=lambda: len(desk.brain.asked) == 0).work()
    assert 1 <= len(desk.brain.asked) < 8
    assert desk.told("instance.analysed") == sorted(desk.brain.asked)


def test_one_turn_comes_to_an_end_though_films_keep_coming(desk: Desk) -> None:
    desk.admit(*range(1, 21))
    assert desk.analyst(batch=1).work() == 16
    assert desk.analyst(batch=1).work() == 4


def test_what_a_film_s_headlines_are_is_told_with_its_findings(
    desk: Desk, tmp_path: Path, one_core: None
) -> None:
    bundle = declared_bundle(tmp_path, "congestion-score", SCORE, SCORE_OUTPUTS)
    manifest = open_declared(bundle.parent, bundle.name).manifest
    seen = Observation("congestion", ObservationKind.SCORE, "congestion-score", 7.0, threshold=5.0)

    class Observer(Brain):
        def analyse(
            self, film: Any, uid: str, _asked: object = None
        ) -> tuple[FilmFindings, Explanation]:
            return FilmFindings(uid, Outcome.ANALYSED, observations=(seen,)), Explanation()

    desk.admit(1)
    analyst = desk.analyst(engine=Observer(), manifests={manifest.id: manifest})
    assert analyst.work() == 1
    case = desk.ledger.case(desk.film(1).study_id)
    assert case.observations == (ListLine("congestion-score", "congestion", 7.0, found=True),)
    assert case.severity == 0.0
