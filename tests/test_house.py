"""An ailing house (disk, spool, ledger, device) costs no film, no study and no role."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from dicom_node import logs
from dicom_node.errors import (
    BrainUnavailable,
    DiskFull,
    LedgerUnavailable,
    OutputNotFinite,
    Unavailable,
)
from dicom_node.findings import Explanation, FilmFindings
from dicom_node.ledger import open_ledger
from dicom_node.ledger.ballast import BALLAST_BYTES, take_ballast
from dicom_node.ledger.opening import unavailable
from dicom_node.line.analyse import Analyst
from dicom_node.line.heart import Heart
from dicom_node.line.report import Reporter
from dicom_node.logs import Log
from dicom_node.patience import Patience
from dicom_node.records import DeliveryState, InstanceState, StudyState
from dicom_node.results.preview import preview_context, preview_film
from dicom_node.settings import Settings
from dicom_node.spool import Spool, Stored
from tests.ledger_kit import Clock, arrival
from tests.reporting_kit import TEMPLATE, WORKER, Node, pacs

pytestmark = pytest.mark.usefixtures("phantoms_drawn_once")


@dataclass
class Engine:
    """Answers every film with the same invented findings; films named in ``faults`` raise."""

    faults: dict[str, Exception] = field(default_factory=dict)
    lost: bool = False
    at_once: int = 1

    def warm(self) -> None:
        if self.lost:
            raise RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE")

    def analyse(
        self, film: Any, uid: str, _asked: object = None
    ) -> tuple[FilmFindings, Explanation]:
        if uid in self.faults:
            raise self.faults[uid]
        if self.lost:
            raise RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE")
        answered = preview_film()
        return replace(answered.findings, sop_instance_uid=uid), answered.explanation


class Seconds:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """The line of a node behind its front door, its patience, and what it says."""

    node: Node
    analyst: Analyst
    engine: Engine
    patience: Patience
    clock: Seconds
    said: io.StringIO

    def give_back(self) -> None:
        self.node.ledger.release(WORKER)

    def turn(self) -> None:
        """Take one turn of the analysing role's loop, after every pause."""
        self.clock.now += 60
        self.patience.attempt("analysing films", self.analyst.work, self.give_back)
        remotes = {"PACS": pacs()}
        self.patience.attempt(
            "writing results", lambda: self.node.reporter.work(remotes), self.give_back
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.said.getvalue().splitlines())
        return [line for line in lines if line["event"] == name]

    def admit(self, *numbers: int) -> None:
        for number in numbers:
            self.node.receive(number, InstanceState.RECEIVED)
        for instance in self.node.ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 99):
            self.node.ledger.admitted(instance.id, WORKER, "PA")

    def states(self) -> list[str]:
        rows = self.node.ledger._connection.all("select state from instances order by id")
        return [row["state"] for row in rows]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with made(tmp_path) as house:
        yield house


@contextmanager
def made(folder: Path) -> Iterator[House]:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    ledger = open_ledger(folder / "ledger.sqlite", who="analyse", busy_seconds=0.05)
    spool, settings, log = Spool(folder / "spool"), Settings(), Log("analyse")
    cards = preview_context(TEMPLATE).networks
    reporter = Reporter(ledger, spool, settings, TEMPLATE, cards, WORKER, log)
    engine, clock = Engine(), Seconds()
    analyst = Analyst(engine, ledger, spool, settings, WORKER, log)  # type: ignore[arg-type]
    node = Node(ledger, spool, reporter)
    yield House(node, analyst, engine, Patience(log, clock=clock), clock, said)
    ledger.close()


@contextmanager
def locked(house: House) -> Iterator[None]:
    """Another process holds the write lock."""
    other = sqlite3.connect(house.node.ledger._connection._path, isolation_level=None)
    other.execute("begin immediate")
    yield
    other.execute("rollback")
    other.close()


@contextmanager
def read_only(house: House) -> Iterator[None]:
    house.node.ledger._connection.run("pragma query_only = 1")
    yield
    house.node.ledger._connection.run("pragma query_only = 0")


@contextmanager
def full_disk(house: House) -> Iterator[None]:
    def full(*_: object) -> Stored:
        raise DiskFull("The disk of the spool is full.")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Spool, "write", full)
        yield


@contextmanager
def no_spool(house: House) -> Iterator[None]:
    folder = house.node.spool._folder
    away = folder.with_name("away")
    folder.rename(away)
    yield
    away.rename(folder)


ILLS = [locked, read_only, full_disk, no_spool]


@pytest.mark.parametrize("ill", ILLS)
def test_an_ailing_house_is_waited_for_and_costs_no_film(
    house: House, ill: Callable[[House], Any]
) -> None:
    house.admit(1, 2)
    with ill(house):
        for _ in range(5):
            house.turn()
        assert house.states() == ["admitted", "admitted"]
    house.turn()
    assert house.states() == ["analysed", "analysed"]
    assert len(house.events("house.unavailable")) == 1
    assert house.events("house.unavailable")[0]["remedy"]
    assert len(house.events("house.available")) == 1


def test_a_brain_elsewhere_that_is_gone_is_waited_for_and_costs_no_film(house: House) -> None:
    house.admit(1, 2)
    gone = BrainUnavailable("Nobody answers at http://head:8000.")
    house.engine.faults = {f"1.2.3.{number}": gone for number in (1, 2)}
    for _ in range(5):
        house.turn()
    assert house.states() == ["admitted", "admitted"]
    rows = house.node.ledger._connection.all("select attempts from instances")
    assert [row["attempts"] for row in rows] == [0, 0]
    house.engine.faults = {}
    house.turn()
    assert house.states() == ["analysed", "analysed"]
    assert len(house.events("house.unavailable")) == len(house.events("house.available")) == 1


@pytest.mark.parametrize("ill", ILLS)
def test_an_ailing_house_is_waited_for_and_costs_no_answer(
    house: House, ill: Callable[[House], Any]
) -> None:
    house.node.receive(1, InstanceState.ANALYSED)
    house.node.ledger.quieten(0)
    with ill(house):
        for _ in range(5):
            house.turn()
        (study,) = house.node.ledger.studies()
        assert study.state is StudyState.QUIET
    house.turn()
    (study,) = house.node.ledger.studies()
    assert (study.state, study.reason) == (StudyState.REPORTED, None)
    deliveries = house.node.ledger.deliveries()
    assert {item.state for item in deliveries} == {DeliveryState.WAITING}
    assert len({item.group for item in deliveries}) == len(deliveries) > 0


def test_a_disk_that_is_really_full_costs_neither_film_nor_answer(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("12m")
    with made(disk) as house:
        house.admit(1, 2)
        ballast = disk / "another tenant"
        ballast.write_bytes(bytes(house.node.spool.free_bytes() - 4096))
        for _ in range(4):
            house.turn()
        assert set(house.states()) == {"admitted"}
        ballast.unlink()
        house.turn()
        house.node.ledger.quieten(0)
        house.turn()
        house.turn()
        assert set(house.states()) == {"analysed"}
        assert {study.reason for study in house.node.ledger.studies()} == {None}


def test_a_lost_device_costs_no_film(house: House) -> None:
    house.admit(1, 2)
    house.engine.lost = True
    for _ in range(5):
        house.turn()
    assert house.states() == ["admitted", "admitted"]
    house.engine.lost = False
    house.turn()
    assert house.states() == ["analysed", "analysed"]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("CANARY"), OutputNotFinite("NaN"), MemoryError()]
)
def test_a_film_that_the_networks_cannot_bear_fails_alone_with_a_reason(
    house: House, error: Exception
) -> None:
    house.admit(1, 2, 3)
    house.engine.faults["1.2.3.2"] = error
    house.turn()
    assert house.states() == ["analysed", "failed", "analysed"]
    (failed,) = house.node.ledger.find_instances("1.2.3.2")
    assert failed.reason
    assert "CANARY" not in house.said.getvalue() + str(failed.reason)


def test_a_study_whose_results_nobody_foresaw_ends_at_once_with_a_reason_and_the_next_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        house.node.receive(number, InstanceState.ANALYSED)
    house.node.ledger.quieten(0)
    report = Reporter._report

    def odd(reporter: Reporter, study: Any, remotes: Any) -> None:
        if study.study_instance_uid == "1.2.4.1":
            raise ZeroDivisionError("CANARY^NAME")
        report(reporter, study, remotes)

    monkeypatch.setattr(Reporter, "_report", odd)
    house.turn()
    house.turn()
    reasons = {item.study_instance_uid: item.reason for item in house.node.ledger.studies()}
    assert "ZeroDivisionError" in str(reasons["1.2.4.1"])
    assert "CANARY" not in str(reasons["1.2.4.1"])
    assert reasons["1.2.4.2"] is None
    assert {study.state for study in house.node.ledger.studies()} == {StudyState.REPORTED}


def test_no_role_ends_because_its_sign_of_life_cannot_be_noted(house: House) -> None:
    heart = Heart(house.node.ledger, "analyse", house.patience)
    with locked(house):
        heart.beat("working")
    assert [line["error"] for line in house.events("house.unavailable")] == ["LedgerUnavailable"]


def test_patience_grows_is_told_once_and_ends_with_the_fault() -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    clock, tries = Seconds(), list[float]()
    patience = Patience(Log("analyse"), clock=clock)

    def ailing() -> None:
        tries.append(clock.now)
        raise LedgerUnavailable("The ledger could not commit.")

    for _ in range(1200):
        patience.attempt("this", ailing)
        patience.attempt("that", ailing)
        clock.now += 0.5
    pauses = [round(b - a, 1) for a, b in zip(tries[::2], tries[2::2], strict=False)]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert max(pauses) == pauses[-1] == 30.0
    clock.now += 60
    assert patience.attempt("this", lambda: "well") == "well"
    assert patience.attempt("that", lambda: "well") == "well"
    events = [json.loads(line)["event"] for line in said.getvalue().splitlines()]
    assert events == ["house.unavailable", "house.available"]


def test_the_end_of_each_fault_that_a_piece_of_work_met_is_told() -> None:
    said = io.StringIO()
    logs.configure(stream=said, strict=True)
    clock = Seconds()
    patience = Patience(Log("analyse"), clock=clock)

    def ailing(error: Exception) -> None:
        raise error

    for error in (DiskFull("Full."), LedgerUnavailable("Full too."), DiskFull("Full.")):
        patience.attempt("this", lambda error=error: ailing(error))
        clock.now += 60
    assert patience.attempt("this", lambda: "well") == "well"
    told = [(e["event"], e["error"]) for e in map(json.loads, said.getvalue().splitlines())]
    assert told == [
        ("house.unavailable", "DiskFull"),
        ("house.unavailable", "LedgerUnavailable"),
        ("house.available", "DiskFull"),
        ("house.available", "LedgerUnavailable"),
    ]


def test_what_could_not_be_given_back_is_given_back_before_the_work_goes_on() -> None:
    clock, story = Seconds(), list[str]()
    patience = Patience(Log("analyse"), clock=clock)

    def work() -> None:
        story.append("work")
        if story.count("work") == 1:
            raise DiskFull("Full.")

    def give_back() -> None:
        story.append("back")
        if story.count("back") == 1:
            raise LedgerUnavailable("Locked.")

    for _ in range(2):
        patience.attempt("work", work, give_back)
        clock.now += 60
    assert story == ["work", "back", "back", "work"]


def test_every_fault_of_the_house_says_what_to_do() -> None:
    for kind in Unavailable.__subclasses__():
        assert kind("It ails.").remedy


def test_a_long_report_shows_between_its_films_that_it_goes_on(house: House) -> None:
    beats = []
    for number in range(4):
        house.node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.4.1")
    house.node.ledger.quieten(0)
    reporter = replace(house.node.reporter, pulse=lambda: beats.append(1))
    assert reporter.work({"PACS": pacs(objects=["sr", "document"])})
    assert len(beats) >= 3 * 4


def test_one_film_that_cannot_be_read_any_more_costs_no_other_its_report(house: House) -> None:
    for number in (1, 2):
        house.node.receive(number, InstanceState.ANALYSED, StudyInstanceUID="1.2.4.1")
    (gone,) = house.node.ledger.find_instances("1.2.3.1")
    house.node.spool.path(gone.digest).unlink()
    house.node.ledger.quieten(0)
    house.turn()
    (study,) = house.node.ledger.studies()
    assert "1.2.3.1 cannot be read any more" in str(study.reason)
    assert house.node.outbox(study)["PACS"]


def test_a_role_that_works_for_long_keeps_what_it_holds(quick_folder: Path) -> None:
    clock = Clock()
    ledger = open_ledger(quick_folder / "ledger.sqlite", who="analyse", clock=clock)
    ledger.received(arrival())
    ledger.claim_instances(InstanceState.RECEIVED, "long", 300, 1)
    for _ in range(5):
        clock.tick(200)
        ledger.renewed("long", 300)
    assert not ledger.claim_instances(InstanceState.RECEIVED, "other", 300, 1)
    ledger.close()


def test_one_misread_page_of_a_whole_ledger_sends_nobody_to_the_backups(
    quick_folder: Path,
) -> None:
    path = quick_folder / "ledger.sqlite"
    open_ledger(path, who="test").close()

    def told() -> str:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        with (
            pytest.raises(LedgerUnavailable) as raised,
            unavailable("The ledger could not be read", path),
        ):
            raise error
        return raised.value.remedy

    assert "backup" not in told()
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place : place + 64] = bytes(64)
    path.write_bytes(data)
    assert "backup" in told()


def test_a_study_that_stopped_its_worker_stands_in_nobodys_way(house: House) -> None:
    for number in (1, 2):
        house.node.receive(number, InstanceState.ANALYSED)
    ledger = house.node.ledger
    ledger.quieten(0)
    bad = ledger.claim_quiet_study("dead", 300)
    assert bad is not None
    ledger.orphaned("dead")
    following = ledger.claim_quiet_study(WORKER, 300)
    assert following is not None
    assert following.id != bad.id


def test_a_log_whose_disk_is_full_stops_no_work() -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        logs.configure(stream=full, strict=True)
        Log("analyse").event("study.quiet", study_instance_uid="1.2.3")
        logs.configure(strict=True)
        with suppress(OSError):
            full.close()


def test_on_a_disk_that_another_has_filled_the_ledger_goes_on(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("100m")
    path = disk / "ledger.sqlite"
    ledger = open_ledger(path, who="deliver")
    take_ballast(path, Spool(disk / "spool").free_bytes(), 0)
    hoard = disk / "another tenant"
    with hoard.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    refused = 0
    for number in range(500):
        try:
            ledger.received(arrival(number))
        except LedgerUnavailable:
            refused += 1
    assert refused <= 1
    assert len(ledger.studies(limit=1000)) >= 499
    hoard.unlink()
    take_ballast(path, Spool(disk / "spool").free_bytes(), 0)
    assert path.with_name("ledger.ballast").stat().st_size == BALLAST_BYTES
    ledger.close()


def test_half_a_ballast_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"

    def no_room(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as filled:
        filled.setattr(os, "posix_fallocate", no_room)
        take_ballast(path, 1 << 40, 0)
    take_ballast(path, 1 << 40, 0)
    assert path.with_name("ledger.ballast").stat().st_size == BALLAST_BYTES
