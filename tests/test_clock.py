"""A clock that is set, by an hour or a day, either way, loses no film and kills no role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.line.health import health_of
from dicom_node.records import DeliveryState, InstanceState, StudyState, Worker
from dicom_node.settings import load_configuration
from tests.ledger_kit import WORKER, arrival, parcels

HOUR, DAY = 3600.0, 86_400.0
STEPS = [HOUR, -HOUR, DAY, -DAY, 56 * 365 * DAY, -56 * 365 * DAY]


class Machine:
    """A machine's two clocks: ``passes`` moves both, ``set_by`` only the one on the wall."""

    def __init__(self) -> None:
        self.wall, self.up, self.boots = datetime(2026, 11, 26, 12, tzinfo=UTC), 5000.0, 1

    def passes(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.up += seconds

    def set_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)

    def boot(self, off_seconds: float) -> None:
        self.wall += timedelta(seconds=off_seconds)
        self.up, self.boots = 3.0, self.boots + 1

    def clock(self) -> datetime:
        return self.wall

    def steady(self) -> tuple[str, float]:
        return f"boot {self.boots}", self.up


@pytest.fixture
def machine() -> Machine:
    return Machine()


Open = Callable[[str], SqliteLedger]


@pytest.fixture
def opened(quick_folder: Path, machine: Machine) -> Iterator[Open]:
    """Return a function that opens the ledger as another process."""
    ledgers = []

    def another(who: str) -> SqliteLedger:
        path = quick_folder / "ledger.sqlite"
        ledgers.append(open_ledger(path, who=who, clock=machine.clock, steady=machine.steady))
        return ledgers[-1]

    yield another
    for ledger in ledgers:
        ledger.close()


def film_arrives(ledger: SqliteLedger) -> None:
    ledger.received(arrival(1))


def analysed(ledger: SqliteLedger) -> None:
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 9)
    ledger.admitted(film.id, WORKER, "PA")
    (film,) = ledger.claim_instances(InstanceState.ADMITTED, WORKER, 300, 9)
    ledger.analysed(film.id, WORKER, "{}", None)


def reported(ledger: SqliteLedger, keep_hours: float = 72.0) -> None:
    study = ledger.claim_quiet_study(WORKER, 300)
    assert study is not None
    ledger.reported(study, WORKER, parcels("sr"), keep_hours=keep_hours, signature="a")


@pytest.mark.parametrize("step", STEPS)
def test_a_study_goes_quiet_in_its_time_whatever_the_clock_does(
    opened: Open, machine: Machine, step: float
) -> None:
    receive, keep = opened("receive"), opened("housekeep")
    film_arrives(receive)
    analysed(keep)
    machine.passes(1)
    machine.set_by(step)
    assert not keep.quieten(2)
    machine.passes(1.5)
    assert len(keep.quieten(2)) == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_lease_lasts_as_long_as_it_was_given_for(
    opened: Open, machine: Machine, step: float
) -> None:
    one, other = opened("analyse"), opened("another")
    film_arrives(one)
    one.claim_instances(InstanceState.RECEIVED, "one", 60, 9)
    machine.passes(30)
    machine.set_by(step)
    assert not other.claim_instances(InstanceState.RECEIVED, "other", 60, 9)
    machine.passes(31)
    assert other.claim_instances(InstanceState.RECEIVED, "other", 60, 9)


@pytest.mark.parametrize("step", STEPS)
def test_a_delivery_is_tried_again_after_its_pause_and_expires_after_its_time(
    opened: Open, machine: Machine, step: float
) -> None:
    ledger, deliver = opened("analyse"), opened("deliver")
    film_arrives(ledger)
    analysed(ledger)
    assert ledger.quieten(0)
    reported(ledger)
    (due,) = deliver.claim_deliveries("d", 60, 9)
    deliver.postponed(due.id, "d", machine.wall + timedelta(seconds=600), "down")
    machine.passes(300)
    machine.set_by(step)
    assert not deliver.claim_deliveries("d", 60, 9)
    assert not ledger.expire_deliveries()
    machine.passes(301)
    assert deliver.claim_deliveries("d", 60, 9)
    deliver.release("d")
    machine.passes(73 * HOUR)
    (expired,) = ledger.expire_deliveries()
    assert expired.state is DeliveryState.EXPIRED


@pytest.mark.parametrize("step", STEPS)
def test_a_role_is_as_well_as_it_is_whatever_the_clock_does(
    opened: Open, machine: Machine, step: float, tmp_path: Path
) -> None:
    ledger = opened("receive")
    configuration = load_configuration(data_dir=tmp_path, thorough=False)
    ledger.beat(Worker("receive", "receive"), "working")
    machine.passes(2)
    machine.set_by(step)

    def well() -> bool:
        (role,) = (
            r for r in health_of(opened("pages"), configuration).roles if r.name == "receive"
        )
        return role.well

    assert well()
    machine.passes(60)
    assert not well()


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_processes_whose_clocks_differ_answer_every_film_together(
    quick_folder: Path, machine: Machine, step: float
) -> None:
    path = quick_folder / "ledger.sqlite"

    def elsewhere() -> datetime:
        return machine.wall + timedelta(seconds=step)

    receive = open_ledger(path, who="receive", clock=machine.clock, steady=machine.steady)
    others = open_ledger(path, who="others", clock=elsewhere, steady=machine.steady)
    film_arrives(receive)
    analysed(others)
    receive.beat(Worker("receive", "receive"), "working")
    machine.passes(2.5)
    assert others.quieten(2)
    receive.beat(Worker("receive", "receive"), "working")
    reported(others)
    assert others.claim_deliveries("d", 60, 9)
    receive.close()
    others.close()


@pytest.mark.parametrize("off", [10.0, DAY, -HOUR, -56 * 365 * DAY])
def test_after_a_boot_everything_goes_on_also_where_the_clock_begins_in_1970(
    opened: Open, machine: Machine, off: float
) -> None:
    ledger = opened("before")
    film_arrives(ledger)
    analysed(ledger)
    ledger.quieten(0)
    reported(ledger, keep_hours=100)
    ledger.received(arrival(2))
    ledger.beat(Worker("receive", "receive"), "working")
    machine.passes(5)
    machine.boot(off)
    ledger = opened("after")
    ledger.orphaned("worker")
    analysed(ledger)
    machine.passes(5)
    assert ledger.quieten(2)
    assert ledger.claim_deliveries("d", 60, 9)
    ledger.release("d")
    # The clock is put right some seconds after the boot.
    machine.set_by(max(-off, 0))
    assert not ledger.expire_deliveries()
    assert ledger.claim_deliveries("d", 60, 9)
    assert {study.state for study in ledger.studies()} == {StudyState.REPORTED, StudyState.QUIET}


def test_a_machine_that_slept_is_no_clock_that_was_set(opened: Open, machine: Machine) -> None:
    ledger = opened("receive")
    film_arrives(ledger)
    machine.passes(DAY)
    analysed(ledger)
    assert ledger.quieten(2)
    assert not ledger._connection.all("select * from events where what = 'clock.set'")


def test_a_step_is_noted_once_and_costs_no_lock_where_there_is_none(
    opened: Open, machine: Machine
) -> None:
    one, other = opened("one"), opened("other")
    one.beat(Worker("one", "one"), "working")
    machine.set_by(HOUR)
    for ledger in (one, other, opened("third")):
        ledger.moment()
        ledger.beat(Worker(ledger.who, ledger.who), "working")
    rows = one._connection.all("select detail from events where what = 'clock.set'")
    assert [row["detail"] for row in rows] == ["+3600.0 s"]


def test_a_step_in_a_transaction_that_fails_is_seen_again(opened: Open, machine: Machine) -> None:
    ledger = opened("receive")
    film_arrives(ledger)
    ledger.claim_instances(InstanceState.RECEIVED, "one", 60, 9)
    machine.set_by(DAY)
    with pytest.raises(ZeroDivisionError), ledger._connection.transaction():
        raise ZeroDivisionError
    assert not ledger.claim_instances(InstanceState.RECEIVED, "other", 60, 9)
