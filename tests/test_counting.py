"""Counts that never go down: made from the ledger's events, once each, whoever is restarted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.ledger.watching import OTHER_TITLES
from dicom_node.records import AlarmKind, DeliveryState, InstanceState, StageTimes, Worker
from tests.ledger_kit import (
    WORKER,
    Clock,
    admit,
    analyse,
    arrival,
    asked_of,
    claim_delivery,
    claim_study,
    delivery_in,
    fresh_ledger,
    instance_in,
    parcels,
    report,
    run,
)

PACS = {"PACS"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, clock: Clock) -> SqliteLedger:
    return fresh_ledger(path, who="test", clock=clock)


def stages(ledger: SqliteLedger) -> dict[str, tuple[int, float]]:
    """Return how many there were of each stage, and how long they took together."""
    found: dict[str, tuple[int, float]] = {}
    for step in ledger.stage_times():
        number, seconds = found.get(step.stage, (0, 0.0))
        found[step.stage] = number + step.number, seconds + step.seconds
    return found


def a_day(ledger: SqliteLedger, clock: Clock) -> None:
    """A film comes, is admitted after 1 s, then analysed after 4, reported after 20, sent."""
    ledger.received(arrival(1))
    clock.tick(1)
    admit(ledger)
    clock.tick(4)
    analyse(ledger)
    clock.tick(20)
    ledger.quieten(0)
    report(ledger, "sr 1")
    clock.tick(300)
    ledger.sent(claim_delivery(ledger).id, WORKER, 0)


def test_each_stage_of_a_film_is_timed_and_the_whole_way(
    ledger: SqliteLedger, clock: Clock
) -> None:
    a_day(ledger, clock)
    assert ledger.count_events(PACS) > 5
    assert stages(ledger) == {
        "admit": (1, 1.0), "analyse": (1, 4.0), "report": (1, 20.0), "send": (1, 300.0),
        "whole": (1, 325.0),
    }  # fmt: skip
    (analysed,) = (each for each in ledger.stage_times() if each.stage == "analyse")
    assert analysed == StageTimes("analyse", 5.0, 1, 4.0)
    totals = ledger.totals()
    assert totals["instance.received", "PACS"] == 1
    assert totals["delivery.sent", "PACS"] == 1
    assert totals["study.reported", ""] == 1


def test_what_was_counted_is_not_counted_again_by_whoever_comes_next(
    path: Path, ledger: SqliteLedger, clock: Clock
) -> None:
    a_day(ledger, clock)
    ledger.count_events(PACS)
    before = ledger.totals(), ledger.stage_times()
    ledger.close()
    again = open_ledger(path, who="monitor", clock=clock)
    assert again.uncounted() == 0
    assert again.count_events(PACS) == 0
    assert (again.totals(), again.stage_times()) == before
    again.close()


def test_events_are_counted_in_steps_and_who_died_in_between_has_counted_none_twice(
    ledger: SqliteLedger, clock: Clock
) -> None:
    a_day(ledger, clock)
    many = ledger.uncounted()
    assert many > 5
    counted = 0
    while step := ledger.count_events(PACS, limit=2):
        assert step <= 2
        counted += step
    assert counted == many
    assert stages(ledger)["whole"] == (1, 325.0)


def test_an_idle_count_takes_no_lock(ledger: SqliteLedger) -> None:
    ledger.received(arrival(1))
    ledger.count_events(PACS)
    with asked_of(ledger) as asked:
        assert ledger.count_events(PACS) == 0
    assert not any("begin" in statement for statement in asked)


def test_counts_stay_when_their_studies_are_forgotten_and_numbers_come_again(
    ledger: SqliteLedger, clock: Clock
) -> None:
    a_day(ledger, clock)
    ledger.count_events(PACS)
    clock.tick(days=200)
    assert ledger.forget(ledger.studies()[0].id)
    ledger.count_events(PACS)
    clock.tick(days=20)
    ledger.forget_events(10)
    assert run(ledger, "select count(*) from events")[0][0] == 0
    # SQLite gives the numbers of what is gone anew.
    assert ledger.count_events(PACS) == 0
    ledger.received(arrival(2))
    assert ledger.count_events(PACS) == 1
    assert ledger.totals()["instance.received", "PACS"] == 2


def test_titles_that_the_ae_table_does_not_have_are_counted_together(ledger: SqliteLedger) -> None:
    for number in range(1, 30):
        ledger.received(arrival(number, sender=f"STRANGER{number}"))
    ledger.received(arrival(30))
    ledger.count_events(PACS)
    received = {key: n for key, n in ledger.totals().items() if key[0] == "instance.received"}
    assert received == {
        ("instance.received", "PACS"): 1, ("instance.received", OTHER_TITLES): 29
    }  # fmt: skip


def test_what_a_person_asked_for_again_is_no_slow_delivery(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery = delivery_in(ledger, DeliveryState.REFUSED)
    clock.tick(days=3)
    ledger.resend(delivery.id, "ada", 100)
    clock.tick(7)
    ledger.sent(claim_delivery(ledger).id, WORKER, 0)
    ledger.count_events(PACS)
    assert stages(ledger)["send"] == (1, 7.0)
    assert "whole" not in stages(ledger)


def test_a_clock_that_was_set_back_makes_no_stage_shorter_than_nothing(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival(1))
    clock.tick(hours=-5)
    admit(ledger)
    ledger.count_events(PACS)
    assert stages(ledger)["admit"] == (1, 0.0)


def test_the_queue_of_a_role_tells_how_many_wait_and_since_when(
    ledger: SqliteLedger, clock: Clock
) -> None:
    instance_in(ledger, InstanceState.ADMITTED, 1)
    begun = clock.now
    clock.tick(minutes=5)
    ledger.received(arrival(2))
    queues = {queue.name: queue for queue in ledger.queues()}
    assert (queues["analyse"].waiting, queues["analyse"].since) == (1, begun)
    assert (queues["intake"].waiting, queues["intake"].since) == (1, clock.now)
    assert (queues["report"].waiting, queues["report"].since) == (0, None)


def test_a_film_that_is_analysed_anew_waits_since_then(ledger: SqliteLedger, clock: Clock) -> None:
    film = instance_in(ledger, InstanceState.ANALYSED)
    clock.tick(days=20)
    ledger.asked_again(film.id, "ada")
    (intake, *_) = ledger.queues()
    assert (intake.waiting, intake.since) == (1, clock.now)


def test_a_destination_s_queue_tells_since_when_and_whether_the_last_try_was_in_vain(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery_in(ledger, DeliveryState.WAITING, 1)
    begun = clock.now
    clock.tick(minutes=1)
    delivery_in(ledger, DeliveryState.WAITING, 2)
    (queue,) = ledger.outbox_queues()
    assert (queue.name, queue.waiting, queue.since, queue.failing) == ("PACS", 2, begun, False)
    taken = claim_delivery(ledger)
    ledger.postponed(taken.id, WORKER, clock.now, "connection refused")
    (queue,) = ledger.outbox_queues()
    assert (queue.since, queue.failing) == (begun, True)


def test_what_is_held_for_a_person_does_not_wait(ledger: SqliteLedger, clock: Clock) -> None:
    instance_in(ledger, InstanceState.ANALYSED)
    ledger.quieten(0)
    (one,) = parcels("sr")
    held = replace(one, held="approve")
    ledger.reported(claim_study(ledger), WORKER, [held], keep_hours=1, signature="s")
    assert ledger.outbox_queues() == []
    clock.tick(hours=30)
    (study,) = ledger.studies()
    ledger.approve(study.id, "ada", 100)
    (queue,) = ledger.outbox_queues()
    assert (queue.waiting, queue.since) == (1, clock.now)


def test_what_a_person_gave_up_or_nobody_has_a_use_for_is_not_parked(ledger: SqliteLedger) -> None:
    delivery_in(ledger, DeliveryState.EXPIRED, 1)  # dropped by a person
    delivery_in(ledger, DeliveryState.WAITING, 2)
    ledger.delivery_not_accepted(claim_delivery(ledger).id, WORKER, "no context")
    assert ledger.parked_by_destination() == {}
    delivery_in(ledger, DeliveryState.REFUSED, 3)
    assert ledger.parked_by_destination() == {"PACS": 1}


def test_deaths_are_counted_for_ever_and_remembered_for_a_day(
    ledger: SqliteLedger, clock: Clock
) -> None:
    for _ in range(3):
        ledger.orphaned("token", "analyse")
    assert ledger.deaths(600) == {"analyse": 3}
    clock.tick(minutes=11)
    assert ledger.deaths(600) == {}
    clock.tick(days=2)
    ledger.orphaned("token", "deliver")
    assert run(ledger, "select role from role_deaths")[0][0] == "deliver"
    assert len(run(ledger, "select role from role_deaths")) == 1
    assert ledger.totals()["role.died", "analyse"] == 3


def test_what_was_found_wrong_stands_until_it_is_found_right_or_looked_at_no_more(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.found(AlarmKind.SELF_TEST, "gate", "off by 1")
    begun = clock.now
    clock.tick(60)
    ledger.found(AlarmKind.SELF_TEST, "gate", "off by 2")
    ledger.found(AlarmKind.SELF_TEST, "lungs", None)
    gate, lungs = ledger.ailments()
    assert (gate.reason, gate.at, lungs.reason) == ("off by 2", begun, None)
    ledger.found(AlarmKind.SELF_TEST, "gate", None)
    assert ledger.ailments()[0].at == clock.now
    ledger.found_only(AlarmKind.SELF_TEST, ["lungs"])
    assert [each.subject for each in ledger.ailments()] == ["lungs"]


def test_levels_are_set_and_counts_are_added(ledger: SqliteLedger) -> None:
    for number in (3, 2):
        ledger.add_totals({("association.accepted", ""): number}, {"associations.open": number})
    assert ledger.totals() == {("association.accepted", ""): 5, ("associations.open", ""): 2}


def test_a_supervisor_s_row_is_no_role_s(ledger: SqliteLedger) -> None:
    ledger.beat(Worker("supervisor", "s", 1), "working", "roles=receive")
    ledger.beat(Worker("supervisor", "t", 5), "working", "roles=report")
    assert [beat.worker.number for beat in ledger.beats()] == [1, 5]
