"""What the ledger promises, within one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from dicom_node.errors import (
    LeaseLost,
    LedgerUnavailable,
    RowMissing,
    SqliteAffected,
    TransitionRefused,
)
from dicom_node.ledger import open_ledger
from dicom_node.ledger.interface import Outgoing, Received
from dicom_node.ledger.opening import refuse_affected
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.ledger.steps import DELIVERIES, INSTANCES, STUDIES, LeasedTable, move, required
from dicom_node.records import (
    OTHER_CALLERS,
    Arrival,
    DeliveryId,
    DeliveryState,
    Digest,
    InstanceId,
    InstanceState,
    ObjectKind,
    ResultObject,
    StudyId,
    StudyState,
    Worker,
)
from tests.ledger_kit import (
    WORKER,
    Clock,
    admit,
    analyse,
    arrival,
    claim,
    claim_delivery,
    claim_study,
    decline,
    delivery_in,
    digest_of,
    dump,
    fail,
    fresh_ledger,
    instance_in,
    parcels,
    report,
    result,
    run,
    study_in,
)

RECEIVED, ADMITTED = InstanceState.RECEIVED, InstanceState.ADMITTED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(quick_folder: Path) -> Path:
    return quick_folder / "data" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, clock: Clock) -> Iterator[SqliteLedger]:
    opened = fresh_ledger(path, who="test", clock=clock)
    yield opened
    opened.close()


def story(ledger: SqliteLedger) -> list[str]:
    return [what for (what,) in run(ledger, "select what from events order by id")]


# Transitions

MAKE: dict[str, Callable[[SqliteLedger, str], int]] = {
    "instance": lambda it, state: instance_in(it, InstanceState(state)).id,
    "study": lambda it, state: study_in(it, StudyState(state)).id,
    "delivery": lambda it, state: delivery_in(it, DeliveryState(state)).id,
}
STATES = {"instance": InstanceState, "study": StudyState, "delivery": DeliveryState}
KINDS = (INSTANCES, STUDIES, DELIVERIES)
PAIRS = [
    pytest.param(kind, start, end, id=f"{kind.noun}-{start}-{end}")
    for kind in KINDS
    for start in kind.transitions
    for end in kind.transitions
]


@pytest.mark.parametrize(("kind", "start", "end"), PAIRS)
def test_a_transition_of_the_tables_writes_one_event_and_any_other_changes_nothing(
    ledger: SqliteLedger, kind: LeasedTable, start: str, end: str
) -> None:
    row_id = MAKE[kind.noun](ledger, start)
    before, told, connection = dump(ledger), story(ledger), ledger._connection

    def go() -> None:
        with connection.transaction():
            row = required(connection, kind, row_id)
            move(connection, kind, row, STATES[kind.noun](end))

    if end in kind.transitions[start]:
        go()
        assert required(connection, kind, row_id)["state"] == end
        assert story(ledger) == [*told, f"{kind.noun}.{end}"]
    else:
        with pytest.raises(TransitionRefused, match=f"is {start} and cannot become {end}"):
            go()
        assert dump(ledger) == before


def again(it: SqliteLedger) -> None:
    it.asked_again(InstanceId(1), "me")


def resend(it: SqliteLedger) -> None:
    it.resend(it.deliveries()[0].id, "me", 1)


STEPS: dict[tuple[str, str], Callable[[SqliteLedger], object]] = {
    ("received", "declined"): decline,
    ("received", "admitted"): admit,
    ("received", "failed"): fail,
    ("admitted", "analysed"): analyse,
    ("admitted", "failed"): lambda it: it.failed(claim(it, ADMITTED).id, WORKER, "why"),
    ("admitted", "declined"): lambda it: it.declined(claim(it, ADMITTED).id, WORKER, "why"),
    ("declined", "received"): again,
    ("failed", "received"): again,
    ("analysed", "received"): again,
    ("open", "quiet"): lambda it: it.quieten(0),
    ("quiet", "reported"): lambda it: report(it, "sr"),
    ("quiet", "open"): lambda it: it.received(arrival(2, study=1)),
    ("reported", "open"): lambda it: it.received(arrival(2, study=1)),
    ("waiting", "sent"): lambda it: it.sent(claim_delivery(it).id, WORKER, 0),
    ("waiting", "refused"): lambda it: it.delivery_refused(claim_delivery(it).id, WORKER, "why"),
    ("waiting", "expired"): lambda it: it.drop(it.deliveries()[0].id, "me"),
    ("sent", "waiting"): resend,
    ("refused", "waiting"): resend,
    ("expired", "waiting"): resend,
}
"""The method of the ledger that makes each transition."""

WALK = [
    pytest.param(kind, start, end, id=f"{kind.noun}-{start}-{end}")
    for kind in KINDS
    for start, ends in kind.transitions.items()
    for end in sorted(ends)
    # Storage commitment comes later.
    if (start, end) != ("sent", "committed")
]


@pytest.mark.parametrize(("kind", "start", "end"), WALK)
def test_each_transition_has_a_method_and_its_event_is_of_the_same_transaction(
    ledger: SqliteLedger, kind: LeasedTable, start: str, end: str
) -> None:
    row_id = MAKE[kind.noun](ledger, start)
    told, before = len(story(ledger)), dump(ledger)
    run(ledger, "create trigger deaf before insert on events begin select raise(abort, 'x'); end")
    with pytest.raises(LedgerUnavailable):
        STEPS[start, end](ledger)
    run(ledger, "drop trigger deaf")
    state = f"select state from {kind.table} where id = ?"
    assert run(ledger, state, row_id)[0][0] == start
    assert len(dump(ledger)) == len(before)
    run(ledger, f"update {kind.table} set lease_owner = null, lease_until = null")
    STEPS[start, end](ledger)
    assert run(ledger, state, row_id)[0][0] == end
    assert story(ledger)[told:].count(f"{kind.noun}.{end}") == 1


def test_an_unknown_id_is_a_missing_row(ledger: SqliteLedger) -> None:
    for call in (
        lambda: ledger.instance(InstanceId(9)),
        lambda: ledger.study(StudyId(9)),
        lambda: ledger.delivery(DeliveryId(9)),
        lambda: ledger.admitted(InstanceId(9), WORKER, None),
        lambda: ledger.asked_again(InstanceId(9), "me"),
        lambda: ledger.drop(DeliveryId(9), "me"),
    ):
        with pytest.raises(RowMissing, match="9"):
            call()


def test_only_a_waiting_delivery_is_dropped(ledger: SqliteLedger) -> None:
    sent = delivery_in(ledger, DeliveryState.SENT)
    with pytest.raises(TransitionRefused):
        ledger.drop(sent.id, "me")


# Receiving


def test_the_same_bytes_again_are_one_row_and_a_count(ledger: SqliteLedger) -> None:
    first = ledger.received(arrival())
    assert first == Received(InstanceId(1), duplicate=False, conflict=False)
    assert ledger.received(arrival()) == Received(InstanceId(1), duplicate=True, conflict=False)
    (instance,) = ledger.find_instances("1.2.1")
    assert (instance.duplicate_count, instance.conflict) == (1, False)
    assert story(ledger) == ["instance.received", "instance.duplicate"]


def test_other_bytes_under_the_same_uid_are_kept_as_a_conflict(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    assert ledger.received(arrival(content="other")).conflict
    first, second = ledger.find_instances("1.2.1")
    assert (first.conflict, second.conflict) == (False, True)
    assert first.digest != second.digest


def test_a_new_sender_of_a_known_film_gets_its_results_and_the_first_nothing_twice(
    ledger: SqliteLedger, clock: Clock
) -> None:
    study_in(ledger, StudyState.QUIET)
    assert report(ledger, "sr", to=["PACS"]) == 1
    ledger.sent(claim_delivery(ledger).id, WORKER, 0)
    ledger.received(arrival(sender="CT1"))
    study = ledger.study(StudyId(1))
    assert study.state is StudyState.OPEN
    assert ledger.origins(study.id) == ["PACS", "CT1"]
    ledger.quieten(0)
    assert report(ledger, "sr", to=["PACS", "CT1"]) == 1
    assert [item.destination for item in ledger.deliveries()] == ["CT1", "PACS"]
    assert claim_delivery(ledger).destination == "CT1"
    assert ledger.study(study.id).revision == 1


def test_the_same_sender_again_does_not_open_the_study(ledger: SqliteLedger) -> None:
    study_in(ledger, StudyState.REPORTED)
    ledger.received(arrival())
    assert ledger.study(StudyId(1)).state is StudyState.REPORTED


def test_arrivals_of_many_threads_share_commits_and_each_gets_its_own_answer(
    ledger: SqliteLedger,
) -> None:
    arrivals = [arrival(number % 15, study=0) for number in range(30)]
    answers = all_at_once(ledger, arrivals)
    assert sum(not answer.duplicate for answer in answers) == 15  # type: ignore[union-attr]
    for sent, answer in zip(arrivals, answers, strict=True):
        assert isinstance(answer, Received)
        assert ledger.instance(answer.instance_id).sop_instance_uid == sent.sop_instance_uid


def test_an_arrival_that_cannot_be_written_fails_alone(ledger: SqliteLedger) -> None:
    broken = arrival(2, sender="\udc80")
    first, second, third = all_at_once(ledger, [arrival(1), broken, arrival(3)])
    assert isinstance(first, Received)
    assert isinstance(second, UnicodeEncodeError)
    assert isinstance(third, Received)
    assert [item.sop_instance_uid for item in ledger.instances(StudyId(1))] == ["1.2.1"]
    assert run(ledger, "select count(*) from instances")[0][0] == 2


def test_a_commit_that_fails_is_told_to_every_thread_that_shared_it(
    path: Path, clock: Clock
) -> None:
    ledger = open_ledger(path, who="test", clock=clock, busy_seconds=0.1)
    other = open_ledger(path, who="other")
    with other._connection.transaction():
        answers = all_at_once(ledger, [arrival(number) for number in range(4)])
    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
    assert len(set(map(id, answers))) == 4
    assert ledger.counts() == {}
    assert not ledger.received(arrival(0)).duplicate
    ledger.close()
    other.close()


def test_without_room_an_arrival_is_either_answered_and_there_or_refused_and_not(
    ledger: SqliteLedger,
) -> None:
    (pages,) = run(ledger, "pragma page_count")[0]
    run(ledger, f"pragma max_page_count = {pages}")
    large = "X" * 100_000
    arrivals = [arrival(number, sender=large if number % 3 else "PACS") for number in range(9)]
    answers = all_at_once(ledger, arrivals)
    kept = [
        sent for sent, told in zip(arrivals, answers, strict=True) if isinstance(told, Received)
    ]
    assert len(kept) < 9
    there = {uid for (uid,) in run(ledger, "select sop_instance_uid from instances")}
    assert there == {item.sop_instance_uid for item in kept}
    refused = [told for told in answers if not isinstance(told, Received)]
    assert all(isinstance(told, LedgerUnavailable) for told in refused)
    assert run(ledger, "pragma integrity_check")[0][0] == "ok"


def all_at_once(ledger: SqliteLedger, arrivals: Sequence[Arrival]) -> list[Received | Exception]:
    """Return the answers to arrivals that all wait for the same commit."""
    answers: dict[int, Received | Exception] = {}

    def send(number: int) -> None:
        try:
            answers[number] = ledger.received(arrivals[number])
        except Exception as error:  # noqa: BLE001 - the test looks at it
            answers[number] = error

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(arrivals))]
    with ledger._commit_lock:
        for thread in threads:
            thread.start()
        while len(ledger._waiting) < len(arrivals):
            pass
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(arrivals))]


def test_strangers_with_ever_new_titles_do_not_fill_the_ledger(
    ledger: SqliteLedger, clock: Clock
) -> None:
    for number in range(520):
        clock.tick(1)
        ledger.refused(f"X{number}", "DICOMNODE", "10.0.0.9", "unknown")
    (kept,) = ledger._connection.all("select count(*) as rows from refusals")
    assert kept["rows"] == 501
    assert ledger.refusals()[0].calling_ae_title == "X519"
    (others,) = [each for each in ledger.refusals() if each.reason == OTHER_CALLERS]
    assert others.count == 20


def test_a_rejected_association_is_counted(ledger: SqliteLedger, clock: Clock) -> None:
    ledger.refused("X", "DICOMNODE", "10.0.0.9", "unknown")
    clock.tick(1)
    ledger.refused("Y", "DICOMNODE", "10.0.0.9", "unknown")
    clock.tick(1)
    ledger.refused("X", "DICOMNODE", "10.0.0.9", "unknown")
    first, second = ledger.refusals()
    assert (first.calling_ae_title, first.count, first.last_at) == ("X", 2, clock.now)
    assert (second.calling_ae_title, second.count) == ("Y", 1)


# Leases of instances


def test_what_one_worker_holds_no_other_gets_until_the_lease_expires(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival())
    taken = claim(ledger, RECEIVED, "a")
    assert ledger.claim_instances(RECEIVED, "b", 60, 9) == []
    clock.tick(59.9)
    assert ledger.claim_instances(RECEIVED, "b", 60, 9) == []
    clock.tick(0.2)
    assert claim(ledger, RECEIVED, "b").id == taken.id


def test_a_worker_whose_film_went_to_another_is_told_and_changes_nothing(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival())
    taken = claim(ledger, RECEIVED, "a")
    clock.tick(61)
    claim(ledger, RECEIVED, "b")
    before = dump(ledger)
    with pytest.raises(LeaseLost):
        ledger.admitted(taken.id, "a", "PA")
    assert dump(ledger) == before
    ledger.admitted(taken.id, "b", "PA")


def test_a_worker_that_is_late_but_alone_may_still_finish(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival())
    taken = claim(ledger, RECEIVED, "a")
    clock.tick(3600)
    ledger.admitted(taken.id, "a", "PA")


def test_an_orderly_stop_gives_films_back_without_counting_the_attempt(
    ledger: SqliteLedger,
) -> None:
    for number in (1, 2):
        ledger.received(arrival(number))
    ledger.claim_instances(RECEIVED, "a:1", 60, 9)
    ledger.release("a:1")
    assert [item.attempts for item in ledger.claim_instances(RECEIVED, "b", 60, 9)] == [0, 0]


def test_a_release_touches_only_the_leases_of_that_worker(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    claim(ledger, RECEIVED, "a:1")
    ledger.release("a:")
    ledger.release("a:11")
    assert ledger.claim_instances(RECEIVED, "b", 60, 9) == []


def test_the_films_of_a_dead_worker_are_free_at_once_and_the_attempt_counts(
    ledger: SqliteLedger,
) -> None:
    ledger.received(arrival())
    claim(ledger, RECEIVED, "analyse:host:17")
    assert ledger.orphaned("analyse:host:1") == 0
    assert ledger.orphaned("analyse:host:17") == 1
    assert ledger.orphaned("analyse:host:17") == 0
    assert claim(ledger, RECEIVED, "b").attempts == 1


def test_a_worker_name_is_no_pattern(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    claim(ledger, RECEIVED, "analyse:1")
    assert ledger.orphaned("a%") == 0
    assert ledger.orphaned("_nalyse") == 0


def test_a_film_whose_worker_died_is_handed_out_alone(ledger: SqliteLedger) -> None:
    for number in range(4):
        ledger.received(arrival(number))
    assert len(ledger.claim_instances(RECEIVED, "a", 60, 2)) == 2
    ledger.orphaned("a")
    handed = [
        [item.sop_instance_uid for item in ledger.claim_instances(RECEIVED, f"b{turn}", 60, 9)]
        for turn in range(4)
    ]
    assert handed == [["1.2.0"], ["1.2.1"], ["1.2.2", "1.2.3"], []]


def test_a_film_whose_worker_died_does_not_ride_behind_fresh_ones(ledger: SqliteLedger) -> None:
    for number in range(3):
        ledger.received(arrival(number))
    ledger.claim_instances(RECEIVED, "a", 60, 1)
    fresh = claim(ledger, RECEIVED, "b")
    ledger.release("b")
    run(ledger, "update instances set attempts = 1 where id = ?", fresh.id)
    run(
        ledger,
        "update instances set attempts = 0, lease_owner = null, lease_until = null where id = 1",
    )
    handed = [item.id for item in ledger.claim_instances(RECEIVED, "c", 60, 9)]
    assert handed == [1]


def test_a_film_that_stopped_its_worker_twice_is_quarantined_and_others_go_on(
    ledger: SqliteLedger,
) -> None:
    for number in range(2):
        ledger.received(arrival(number))
    for worker in ("a", "b"):
        assert ledger.claim_instances(RECEIVED, worker, 60, 1)[0].sop_instance_uid == "1.2.0"
        ledger.orphaned(worker)
    assert [item.sop_instance_uid for item in ledger.claim_instances(RECEIVED, "c", 60, 9)] == [
        "1.2.1"
    ]
    (poison,) = ledger.find_instances("1.2.0")
    assert poison.state is InstanceState.FAILED
    assert poison.reason is not None
    assert "quarantined" in poison.reason
    assert (ledger.quarantined(), ledger.quarantined()) == ([poison.id], [])
    assert story(ledger).count("instance.failed") == 1


def test_a_person_can_ask_again_for_a_quarantined_film(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    for worker in ("a", "b"):
        claim(ledger, RECEIVED, worker)
        ledger.orphaned(worker)
    assert ledger.claim_instances(RECEIVED, "c", 60, 9) == []
    ledger.asked_again(InstanceId(1), "Dr. X")
    assert claim(ledger, RECEIVED, "c").attempts == 0
    assert ledger.events(instance_id=InstanceId(1))[-1].detail == "asked by Dr. X"


def test_each_state_counts_its_own_attempts(ledger: SqliteLedger) -> None:
    ledger.received(arrival())
    claim(ledger, RECEIVED, "a")
    ledger.orphaned("a")
    admit(ledger)
    assert claim(ledger, ADMITTED, "b").attempts == 0


# Studies


def test_a_study_is_quiet_when_nothing_came_for_so_long_and_no_film_is_pending(
    ledger: SqliteLedger, clock: Clock
) -> None:
    ledger.received(arrival())
    clock.tick(10)
    assert ledger.quieten(2) == []
    decline(ledger)
    ledger.received(arrival(2, study=1))
    decline(ledger)
    clock.tick(1.9)
    assert ledger.quieten(2) == []
    clock.tick(0.2)
    assert [study.study_instance_uid for study in ledger.quieten(2)] == ["1.3.1"]
    assert ledger.quieten(2) == []


def test_a_study_that_grows_gets_a_new_revision(ledger: SqliteLedger) -> None:
    study_in(ledger, StudyState.QUIET)
    report(ledger, "sr 1", signature="one film")
    ledger.received(arrival(2, study=1))
    admit(ledger)
    analyse(ledger)
    ledger.quieten(0)
    assert report(ledger, "sr 2", signature="two films") == 1
    assert ledger.study(StudyId(1)).revision == 2
    assert [item.revision for item in ledger.results(StudyId(1))] == [1, 2]
    assert len(ledger.deliveries()) == 2


def test_the_same_signature_keeps_the_revision_and_sends_nothing_twice(
    ledger: SqliteLedger,
) -> None:
    study_in(ledger, StudyState.QUIET)
    report(ledger, "sr", signature="one film")
    again(ledger)
    admit(ledger)
    analyse(ledger)
    ledger.quieten(0)
    assert report(ledger, "sr", signature="one film") == 0
    assert ledger.study(StudyId(1)).revision == 1
    assert len(ledger.results(StudyId(1))) == len(ledger.deliveries()) == 1


def test_an_object_that_exists_keeps_its_bytes_for_ever(ledger: SqliteLedger) -> None:
    study_in(ledger, StudyState.QUIET)
    report(ledger, "sr", signature="1")
    ledger.received(arrival(2, study=1))
    decline(ledger)
    ledger.quieten(0)
    study = claim_study(ledger)
    rewritten = Outgoing("PACS", (result("sr", digest=digest_of("written again")),))
    ledger.reported(study, WORKER, [rewritten], keep_hours=1, signature="2")
    (item,) = ledger.results(study.id)
    assert (item.digest, item.revision) == (digest_of("result sr"), 2)


@pytest.mark.parametrize("news", [arrival(2, study=1), arrival(sender="CT1")])
def test_news_while_the_report_is_written_makes_it_void(
    ledger: SqliteLedger, news: Arrival
) -> None:
    study_in(ledger, StudyState.QUIET)
    study = claim_study(ledger)
    ledger.received(news)
    before = dump(ledger)
    with pytest.raises(LeaseLost):
        ledger.reported(study, WORKER, parcels("sr"), keep_hours=1, signature="s")
    with pytest.raises(LeaseLost):
        ledger.study_failed(study, WORKER, "why")
    assert dump(ledger) == before
    assert ledger.study(study.id).state is StudyState.OPEN


def test_one_study_goes_to_one_worker(ledger: SqliteLedger, clock: Clock) -> None:
    study_in(ledger, StudyState.QUIET)
    claim_study(ledger, "a")
    assert ledger.claim_quiet_study("b", 60) is None
    clock.tick(61)
    claim_study(ledger, "b")


def test_a_study_whose_report_stopped_the_worker_thrice_is_ended_with_the_reason(
    ledger: SqliteLedger,
) -> None:
    study_in(ledger, StudyState.QUIET)
    for worker in ("a", "b", "c"):
        claim_study(ledger, worker)
        ledger.orphaned(worker)
    assert ledger.claim_quiet_study("d", 60) is None
    study = ledger.study(StudyId(1))
    assert study.state is StudyState.REPORTED
    assert study.reason == "writing the results stopped 3 times"


def test_a_study_without_a_result_says_why(ledger: SqliteLedger) -> None:
    study_in(ledger, StudyState.QUIET)
    ledger.study_failed(claim_study(ledger), WORKER, "the name could not be kept")
    study = ledger.study(StudyId(1))
    assert (study.state, study.reason) == (StudyState.REPORTED, "the name could not be kept")
    assert ledger.deliveries() == []


# Deliveries


def two_studies_for_two(ledger: SqliteLedger, clock: Clock) -> None:
    for number in (1, 2):
        study_in(ledger, StudyState.QUIET, number)
        report(ledger, f"sr {number}", f"sc {number}", to=["A", "B"])
        clock.tick(1)


def test_a_claim_is_one_destination_and_one_study_the_oldest_first(
    ledger: SqliteLedger, clock: Clock
) -> None:
    two_studies_for_two(ledger, clock)
    claims = [ledger.claim_deliveries(WORKER, 60, 9) for _ in range(5)]
    told = [{(item.destination, item.study_id) for item in taken} for taken in claims]
    assert told == [{("A", 1)}, {("B", 1)}, {("A", 2)}, {("B", 2)}, set()]
    assert [item.group for item in claims[0]] == ["sr 1", "sc 1"]
    assert [item.alternatives[0].group for item in claims[0]] == ["sr 1", "sc 1"]


def test_a_claim_takes_no_more_than_asked(ledger: SqliteLedger, clock: Clock) -> None:
    two_studies_for_two(ledger, clock)
    assert [len(ledger.claim_deliveries(WORKER, 60, 1)) for _ in range(3)] == [1, 1, 1]


def test_busy_destinations_are_skipped(ledger: SqliteLedger, clock: Clock) -> None:
    two_studies_for_two(ledger, clock)
    assert ledger.claim_deliveries(WORKER, 60, 9, ("A",))[0].destination == "B"
    assert ledger.claim_deliveries(WORKER, 60, 9, ("A", "B")) == []


def test_a_postponed_delivery_waits_and_tells_why(ledger: SqliteLedger, clock: Clock) -> None:
    delivery_in(ledger, DeliveryState.WAITING)
    taken = claim_delivery(ledger)
    due = clock.now + timedelta(seconds=30)
    ledger.postponed(taken.id, WORKER, due, "no connection", 0xA700)
    assert ledger.claim_deliveries(WORKER, 60, 9) == []
    waiting = ledger.delivery(taken.id)
    assert (waiting.state, waiting.reason, waiting.status) == ("waiting", "no connection", 0xA700)
    assert waiting.next_attempt_at == due
    clock.tick(30)
    assert claim_delivery(ledger).attempts == 1
    (peer,) = [peer for peer in ledger.peers() if peer.ae_title == "PACS"]
    assert (peer.last_error, peer.waiting) == ("no connection", 1)


def test_the_alternative_that_was_offered_once_is_offered_again(
    ledger: SqliteLedger, clock: Clock
) -> None:
    study_in(ledger, StudyState.QUIET)
    pair = tuple(
        ResultObject("sr", ObjectKind.REPORT, f"2.25.{n}", f"1.{n}", "2.25.7", digest_of(str(n)), 1)
        for n in (1, 2)
    )
    study = claim_study(ledger)
    ledger.reported(study, WORKER, [Outgoing("PACS", pair)], keep_hours=1, signature="s")
    taken = claim_delivery(ledger)
    assert taken.alternatives == pair
    ledger.pin(taken.id, WORKER, "2.25.2")
    ledger.postponed(taken.id, WORKER, clock.now, "no answer")
    assert claim_delivery(ledger).pinned_sop_instance_uid == "2.25.2"


def test_a_sent_delivery_clears_what_was_wrong_with_its_peer(
    ledger: SqliteLedger, clock: Clock
) -> None:
    taken = delivery_in(ledger, DeliveryState.WAITING)
    ledger.postponed(claim_delivery(ledger).id, WORKER, clock.now, "no connection")
    ledger.sent(claim_delivery(ledger).id, WORKER, 0xB000)
    done = ledger.delivery(taken.id)
    assert (done.state, done.status, done.attempts) == (DeliveryState.SENT, 0xB000, 2)
    (peer,) = ledger.peers()
    assert (peer.last_error, peer.waiting, peer.last_sent_at) == (None, 0, clock.now)


def test_every_outcome_of_a_delivery_needs_its_lease(ledger: SqliteLedger, clock: Clock) -> None:
    delivery_in(ledger, DeliveryState.WAITING)
    taken = claim_delivery(ledger, "a")
    clock.tick(61)
    claim_delivery(ledger, "b")
    for call in (
        lambda: ledger.pin(taken.id, "a", "2.25.1"),
        lambda: ledger.sent(taken.id, "a", 0),
        lambda: ledger.postponed(taken.id, "a", clock.now, "why"),
        lambda: ledger.delivery_refused(taken.id, "a", "why"),
    ):
        with pytest.raises(LeaseLost):
            call()


def test_what_is_not_delivered_in_time_expires_and_keeps_its_last_reason(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery_in(ledger, DeliveryState.WAITING)
    taken = claim_delivery(ledger)
    ledger.postponed(taken.id, WORKER, clock.now + timedelta(days=1), "no connection")
    assert ledger.expire_deliveries() == []
    clock.tick(hours=1)
    (ended,) = ledger.expire_deliveries()
    assert (ended.id, ended.state) == (taken.id, DeliveryState.EXPIRED)
    assert ended.reason == "not delivered in time; last: no connection"
    assert ledger.expire_deliveries() == []
    assert ledger.claim_deliveries(WORKER, 60, 9) == []


def test_a_delivery_that_is_under_way_does_not_expire(ledger: SqliteLedger, clock: Clock) -> None:
    delivery_in(ledger, DeliveryState.WAITING)
    clock.tick(3599)
    claim_delivery(ledger)
    clock.tick(2)
    assert ledger.expire_deliveries() == []


@pytest.mark.parametrize("state", ["refused", "expired", "sent", "waiting"])
def test_a_person_can_send_again_the_same_bytes_now(
    ledger: SqliteLedger, clock: Clock, state: str
) -> None:
    delivery = delivery_in(ledger, DeliveryState(state))
    clock.tick(days=9)
    ledger.resend(delivery.id, "me", keep_hours=72)
    taken = claim_delivery(ledger)
    assert (taken.id, taken.alternatives) == (delivery.id, delivery.alternatives)
    assert taken.expires_at == clock.now + timedelta(hours=72)


@pytest.mark.parametrize("given_up", [False, True])
def test_what_is_kept_in_shadow_is_sent_by_nobody(ledger: SqliteLedger, *, given_up: bool) -> None:
    study_in(ledger, StudyState.QUIET)
    post_held(ledger, "shadow")
    (delivery,) = ledger.deliveries()
    if given_up:
        ledger.drop(delivery.id, "me")
    with pytest.raises(TransitionRefused) as refused:
        ledger.resend(delivery.id, "me", keep_hours=72)
    assert "`release` in the file of PACS" in refused.value.remedy
    assert ledger.claim_deliveries(WORKER, 60, 10) == []


@pytest.mark.parametrize("release", [None, "approve"])
def test_what_waits_in_shadow_takes_the_hold_that_its_ae_has_at_the_next_report(
    ledger: SqliteLedger, clock: Clock, release: Literal["approve"] | None
) -> None:
    study_in(ledger, StudyState.QUIET)
    post_held(ledger, "shadow")
    film = ledger.instances(ledger.studies()[0].id)[0]
    for hold in (release, "shadow"):
        ledger.asked_again(film.id, "me")
        admit(ledger)
        analyse(ledger)
        clock.tick(1)
        ledger.quieten(0)
        post_held(ledger, hold)
    (delivery,) = ledger.deliveries()
    assert delivery.held == release
    assert len(ledger.claim_deliveries(WORKER, 60, 10)) == (release is None)
    ledger.resend(delivery.id, "me", keep_hours=72)
    assert ledger.delivery(delivery.id).held is None


def test_what_was_given_up_before_approval_and_is_sent_after_all_is_no_longer_held(
    ledger: SqliteLedger,
) -> None:
    study_in(ledger, StudyState.QUIET)
    post_held(ledger, "approve")
    (delivery,) = ledger.deliveries()
    ledger.drop(delivery.id, "me")
    ledger.resend(delivery.id, "me", keep_hours=72)
    assert claim_delivery(ledger).held is None


def post_held(ledger: SqliteLedger, held: Literal["approve", "shadow"] | None) -> None:
    """Write the report of the one quiet study for an AE with that hold."""
    parcel = Outgoing("PACS", (result(),), held)
    ledger.reported(claim_study(ledger), WORKER, [parcel], keep_hours=1, signature="s")


# Reading


def test_the_story_of_a_film_is_told_in_order(ledger: SqliteLedger) -> None:
    delivery = delivery_in(ledger, DeliveryState.SENT)
    told = ledger.events(study_id=delivery.study_id)
    assert [event.what for event in told] == [
        "instance.received",
        "instance.admitted",
        "instance.analysed",
        "study.quiet",
        "delivery.waiting",
        "study.reported",
        "delivery.sent",
    ]
    assert {event.who for event in told} == {"test"}
    assert [e.what for e in ledger.events(instance_id=InstanceId(1))] == [
        event.what for event in told[:3]
    ]


def test_times_are_utc_with_microseconds(ledger: SqliteLedger, clock: Clock) -> None:
    ledger.received(arrival())
    assert run(ledger, "select received_at from instances")[0][0] == (
        "2026-01-01T00:00:00.000000+00:00"
    )
    assert ledger.instance(InstanceId(1)).received_at == clock.now


def test_studies_are_listed_latest_change_first_by_pages_and_by_state(
    ledger: SqliteLedger, clock: Clock
) -> None:
    for number in range(5):
        ledger.received(arrival(number))
        clock.tick(1)
    ledger.received(arrival(7, study=1))
    uids = [study.study_instance_uid for study in ledger.studies(limit=3)]
    assert uids == ["1.3.1", "1.3.4", "1.3.3"]
    assert [s.study_instance_uid for s in ledger.studies(offset=3)] == ["1.3.2", "1.3.0"]
    assert ledger.studies(state=StudyState.QUIET) == []
    assert len(ledger.studies(state=StudyState.OPEN)) == 5


def test_counts_and_what_is_unfinished(ledger: SqliteLedger) -> None:
    assert (ledger.counts(), ledger.unfinished()) == ({}, 0)
    delivery_in(ledger, DeliveryState.WAITING)
    assert ledger.counts() == {
        "instances.analysed": 1,
        "studies.reported": 1,
        "deliveries.waiting": 1,
    }
    assert ledger.unfinished() == 1
    ledger.sent(claim_delivery(ledger).id, WORKER, 0)
    assert ledger.unfinished() == 0


def test_a_role_beats_and_a_new_process_starts_anew(ledger: SqliteLedger, clock: Clock) -> None:
    started = clock.now
    ledger.beat(Worker("receive", "receive"), "working", "port=11112")
    clock.tick(5)
    ledger.beat(Worker("receive", "receive"), "stopping")
    (beat,) = ledger.beats()
    assert (beat.state, beat.started_at, beat.beat_at) == ("stopping", started, clock.now)
    run(ledger, "update workers set pid = -1")
    ledger.beat(Worker("receive", "receive"), "working")
    assert ledger.beats()[0].started_at == clock.now


# Retention


@pytest.mark.parametrize("state", ["waiting", "refused", "expired"])
def test_a_study_with_an_unsent_result_is_never_removed(
    ledger: SqliteLedger, clock: Clock, state: str
) -> None:
    delivery = delivery_in(ledger, DeliveryState(state))
    clock.tick(days=400)
    before = dump(ledger)
    assert ledger.removable(30) == []
    assert ledger.forget(delivery.study_id) == []
    assert dump(ledger) == before


@pytest.mark.parametrize("state", ["open", "quiet"])
def test_a_study_that_is_not_reported_is_never_removed(
    ledger: SqliteLedger, clock: Clock, state: str
) -> None:
    study = study_in(ledger, StudyState(state))
    clock.tick(days=400)
    assert ledger.removable(30) == []
    assert ledger.forget(study.id) == []
    assert ledger.study(study.id) == study


def test_a_film_that_arrives_between_the_look_and_the_removal_is_kept(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery_in(ledger, DeliveryState.SENT)
    clock.tick(days=31)
    (study,) = ledger.removable(30)
    ledger.received(arrival(2, study=1))
    assert ledger.forget(study.id) == []
    assert len(ledger.instances(study.id)) == 2


def all_digests(ledger: SqliteLedger) -> set[Digest]:
    shards = (f"{number:02x}" for number in range(256))
    return {digest for shard in shards for digest in ledger.digests_of_shard(shard)}


@pytest.mark.parametrize("state", ["sent", "committed"])
def test_a_delivered_study_past_its_days_is_removed_with_all_its_digests(
    ledger: SqliteLedger, clock: Clock, state: str
) -> None:
    delivery = delivery_in(ledger, DeliveryState(state))
    run(ledger, "update instances set saliency_digest = ?", digest_of("saliency"))
    clock.tick(days=29)
    assert ledger.removable(30) == []
    clock.tick(days=1)
    assert [study.id for study in ledger.removable(30)] == [delivery.study_id]
    known = all_digests(ledger)
    assert set(ledger.forget(delivery.study_id)) == known
    assert len(known) == 3
    assert all_digests(ledger) == set()
    assert ledger.removable(30) == []
    assert ledger.forget(delivery.study_id) == []


def test_a_digest_that_another_row_names_stays(ledger: SqliteLedger, clock: Clock) -> None:
    delivery = delivery_in(ledger, DeliveryState.SENT)
    ledger.received(arrival(5, content="film 1"))
    ledger.received(arrival(6))
    admit(ledger)
    admit(ledger)
    analyse(ledger, saliency=digest_of("result sr 1"))
    assert ledger.forget(delivery.study_id) == []


def test_the_story_outlives_the_study_and_its_id_never_comes_back(
    ledger: SqliteLedger, clock: Clock
) -> None:
    delivery = delivery_in(ledger, DeliveryState.SENT)
    ledger.forget(delivery.study_id)
    told = ledger.events(study_id=delivery.study_id)
    assert (told[-1].what, told[-1].detail) == ("study.forgotten", "1.3.1")
    again = ledger.received(arrival())
    assert again.instance_id == 2
    assert ledger.instance(again.instance_id).study_id == 2


# The database


def test_the_promised_settings_are_in_force(ledger: SqliteLedger) -> None:
    told = {
        name: run(ledger, f"pragma {name}")[0][0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_only_the_owner_may_look(path: Path) -> None:
    with closing(open_ledger(path, who="test")) as ledger:
        ledger.received(arrival())
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o777 == 0o600, file.name
    assert path.parent.stat().st_mode & 0o777 == 0o700


AFFECTED = [(3, 7, 0), (3, 40, 1), (3, 45, 3), (3, 50, 4), (3, 51, 0), (3, 51, 2)]


@pytest.mark.parametrize("version", AFFECTED)
def test_a_sqlite_with_the_wal_reset_bug_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(SqliteAffected, match=".".join(map(str, version))) as refused:
        refuse_affected(version)
    assert "pysqlite3" in refused.value.remedy


@pytest.mark.parametrize("version", [(3, 6, 23), (3, 51, 3), (3, 52, 0), (3, 53, 4), (4, 0, 0)])
def test_a_sqlite_without_it_is_not(version: tuple[int, ...]) -> None:
    refuse_affected(version)


def test_the_sqlite_that_is_installed_is_a_fixed_one(ledger: SqliteLedger) -> None:
    refuse_affected(tuple(map(int, ledger.sqlite_version.split("."))))


def test_asking_when_there_is_nothing_to_do_takes_no_lock(
    ledger: SqliteLedger, path: Path, clock: Clock
) -> None:
    delivery_in(ledger, DeliveryState.SENT)
    before = path.with_name("ledger.sqlite-wal").read_bytes()
    holder = open_ledger(path, who="holder", clock=clock)
    idle = open_ledger(path, who="idle", busy_seconds=0, clock=clock)
    with holder._connection.transaction():
        for state in (RECEIVED, ADMITTED):
            assert idle.claim_instances(state, "w", 60, 9) == []
        assert idle.claim_deliveries("w", 60, 9) == []
        assert idle.claim_quiet_study("w", 60) is None
        assert idle.quieten(0) == []
        assert idle.expire_deliveries() == []
        assert idle.removable(30) == []
    assert path.with_name("ledger.sqlite-wal").read_bytes() == before
    idle.close()
    holder.close()


def test_a_busy_ledger_is_unavailable_after_the_time_out_and_works_again(
    ledger: SqliteLedger, path: Path
) -> None:
    other = open_ledger(path, who="other", busy_seconds=0.1)
    with ledger._connection.transaction(), pytest.raises(LedgerUnavailable, match="locked"):
        other.received(arrival())
    assert not other.received(arrival()).duplicate
    other.close()


def test_a_transaction_that_fails_gives_the_lock_back(ledger: SqliteLedger) -> None:
    with pytest.raises(KeyError), ledger._connection.transaction():
        move(ledger._connection, STUDIES, {}, StudyState.QUIET)
    ledger.received(arrival())


@pytest.mark.parametrize("verify", [False, True])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path: Path, verify: bool) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all " * 1000)
    before = path.read_bytes()
    with pytest.raises(LedgerUnavailable, match="cannot be opened") as refused:
        open_ledger(path, who="test", verify=verify)
    assert "backup" in refused.value.remedy
    assert path.read_bytes() == before


def test_every_refused_call_that_is_kept_is_shown(path: Path) -> None:
    ledger = open_ledger(path, who="test")
    for number in range(300):
        ledger.refused(f"CT{number}", "NODE", "127.0.0.1", "unknown")
    assert len(ledger.refusals()) == 300
    ledger.close()


def test_a_damaged_ledger_is_found_when_it_is_verified(path: Path) -> None:
    ledger = open_ledger(path, who="test")
    for number in range(200):
        ledger.received(arrival(number))
    ledger.close()
    data = bytearray(path.read_bytes())
    for place in range(4096 * 3, len(data), 4096):
        # The header of one page after another.
        path.write_bytes(data[:place] + bytes(64) + data[place + 64 :])
        with pytest.raises(LedgerUnavailable) as refused:
            open_ledger(path, who="test", verify=True)
        assert "backup" in refused.value.remedy
    path.write_bytes(data)
    open_ledger(path, who="test", verify=True).close()


def test_a_closed_ledger_is_unavailable(path: Path) -> None:
    ledger = open_ledger(path, who="test")
    ledger.close()
    with pytest.raises(LedgerUnavailable):
        ledger.received(arrival())
    with pytest.raises(LedgerUnavailable):
        ledger.studies()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(LedgerUnavailable) as refused:
        open_ledger(tmp_path / "data" / "ledger.sqlite", who="test")
    assert "permissions" in refused.value.remedy


def test_a_read_only_disk_is_refused_with_a_remedy(
    small_disk: Callable[[str], Path], remount: Callable[[Path, str], None]
) -> None:
    path = small_disk("4m") / "ledger.sqlite"
    ledger = open_ledger(path, who="test")
    ledger.received(arrival())
    ledger.close()
    remount(path.parent, "ro")
    with pytest.raises(LedgerUnavailable) as refused:
        open_ledger(path, who="test").received(arrival(2))
    assert "mount" in refused.value.remedy


def test_a_full_disk_loses_no_commit_and_the_ledger_recovers_by_itself(
    small_disk: Callable[[str], Path],
) -> None:
    disk = small_disk("3m")
    ledger = open_ledger(disk / "ledger.sqlite", who="test")
    (disk / "film").write_bytes(bytes(2 << 20))
    acknowledged: list[str] = []

    def receive_until_full() -> None:
        for number in range(10_000):
            ledger.received(arrival(number))
            acknowledged.append(f"1.2.{number}")

    with pytest.raises(LedgerUnavailable) as refused:
        receive_until_full()
    assert "disk" in refused.value.remedy
    (disk / "film").unlink()
    ledger.received(arrival(20_000))
    ledger.close()
    ledger = open_ledger(disk / "ledger.sqlite", who="test", verify=True)
    kept = [uid for (uid,) in run(ledger, "select sop_instance_uid from instances order by id")]
    assert kept == [*acknowledged, "1.2.20000"]
    ledger.close()


def test_urgent_films_are_analysed_and_their_studies_written_first(
    ledger: SqliteLedger, clock: Clock
) -> None:
    for number, priority in ((1, 0), (2, 0), (3, 10)):
        ledger.received(arrival(number))
        (film,) = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
        ledger.admitted(film.id, WORKER, "PA", "", priority)
        clock.tick(1)
    films = ledger.claim_instances(InstanceState.ADMITTED, WORKER, 60, 3)
    assert [film.id for film in films] == [3, 1, 2]
    for film in films:
        ledger.failed(film.id, WORKER, "a test")
    ledger.quieten(0)
    written = [ledger.claim_quiet_study(WORKER, 60) for _ in range(3)]
    assert [study.id for study in written if study] == [3, 1, 2]


def test_a_routine_film_of_an_urgent_study_does_not_make_it_less_urgent(
    ledger: SqliteLedger,
) -> None:
    for number, priority in ((1, 10), (2, 0)):
        ledger.received(arrival(number, study=1))
        (film,) = ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 1)
        ledger.admitted(film.id, WORKER, "PA", "", priority)
    assert run(ledger, "select priority from studies")[0][0] == 10
