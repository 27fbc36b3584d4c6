"""What only grows has an end: refused callers, sessions, events of studies that are gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import DeliveryState
from tests.ledger_kit import Clock, arrival, delivery_in, digest_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> SqliteLedger:
    return open_ledger(tmp_path / "ledger.sqlite", who="test", clock=clock)


def test_refused_callers_are_forgotten_once_they_have_not_called_for_long(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.refused("OLD", "DICOMNODE", "10.0.0.9", "unknown")
    clock.tick(days=89)
    ledger.refused("NEW", "DICOMNODE", "10.0.0.9", "unknown")
    assert ledger.forget_refusals(90) == 0
    clock.tick(days=2)
    assert ledger.forget_refusals(90) == 1
    assert [row.calling_ae_title for row in ledger.refusals()] == ["NEW"]


def test_sessions_whose_browser_never_came_back_are_forgotten(
    ledger: SqliteLedger, clock: Clock
) -> None:
    idle, longest = timedelta(minutes=30), timedelta(hours=12)
    ledger.keep_user("ada", "reader", "hash")
    ledger.open_session("ada", "old", "csrf")
    clock.tick(minutes=20)
    ledger.open_session("ada", "new", "csrf")
    assert ledger.forget_sessions(idle, longest) == 0
    clock.tick(minutes=20)
    assert ledger.forget_sessions(idle, longest) == 1
    assert ledger.session("new", idle, longest) is not None


def test_events_go_some_days_after_their_study_and_those_of_living_studies_stay(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery = delivery_in(ledger, DeliveryState.SENT)
    clock.tick(days=31)
    assert ledger.forget(delivery.study_id)
    kept = ledger.received(arrival(99)).instance_id
    assert ledger.forget_events(40) == 0
    assert ledger.events(study_id=delivery.study_id)
    clock.tick(days=11)
    assert ledger.forget_events(40) > 0
    # What says that it was forgotten is eleven days old.
    assert [each.what for each in ledger.events(study_id=delivery.study_id)] == ["study.forgotten"]
    clock.tick(days=40)
    assert ledger.forget_events(40) == 1
    assert ledger.events(study_id=delivery.study_id) == []
    assert [each.what for each in ledger.events(instance_id=kept)] == ["instance.received"]


def test_a_year_of_films_leaves_no_more_events_than_a_month_of_them(
    ledger: SqliteLedger, clock: Clock
) -> None:
    counts = []
    for day in range(6):
        delivery = delivery_in(ledger, DeliveryState.SENT, number=day + 1)
        clock.tick(days=60)
        ledger.forget(delivery.study_id)
        ledger.forget_events(90)
        (row,) = ledger._connection.all("select count(*) as rows from events")
        counts.append(row["rows"])
    assert counts[-1] == counts[-2] == counts[-3]


def test_the_audit_trail_ages_in_small_steps_and_the_young_lines_stay(
    ledger: SqliteLedger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.ledger.ageing._AT_ONCE", 3)
    for number in range(8):
        ledger.note("ada", f"old-{number}")
    clock.tick(days=100)
    ledger.note("ada", "young")
    assert ledger.audit_lines_older(90, 1000) == 8
    assert ledger.audit_lines_older(90, 5) == 5
    assert ledger.forget_audit(101) == 0
    assert ledger.forget_audit(90) == 8
    assert [line.what for line in ledger.audit()] == ["audit.aged", "young"]
    assert ledger.forget_audit(90) == 0


def test_senders_whom_the_site_does_not_know_are_forgotten_once_silent_for_long(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival(1, sender="STRANGER"))
    ledger.received(arrival(2, sender="PACS"))
    clock.tick(days=50)
    ledger.received(arrival(3, sender="NEW"))
    clock.tick(days=50)
    assert ledger.forget_peers(90, ["PACS"]) == 1
    assert [peer.ae_title for peer in ledger.peers()] == ["NEW", "PACS"]


def test_the_digests_of_a_shard_are_those_that_begin_so(ledger: SqliteLedger) -> None:
    ledger.received(arrival(1))
    digest = digest_of("film 1")
    assert ledger.digests_of_shard(digest[:2]) == {digest}
    other = f"{(int(digest[:2], 16) + 1) % 256:02x}"
    assert ledger.digests_of_shard(other) == frozenset()
