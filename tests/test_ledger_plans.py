"""What roles and pages ask of the ledger all day is found by an index that holds few rows.

SQLite knows nothing of how many rows are in a state: it plans for a ledger of millions of films as
for an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_node.ledger import open_ledger
from dicom_node.ledger.cases import CaseQuery
from dicom_node.ledger.outbox import OutboxQuery
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import DeliveryState, InstanceState, StudyId
from tests.ledger_kit import WORKER, arrival, asked_of, run, study_in
from tests.ledger_kit import StudyState as State

QUESTIONS: dict[str, tuple[Callable[[SqliteLedger], object], str]] = {
    "films to claim": (
        lambda ledger: ledger.claim_instances(InstanceState.RECEIVED, WORKER, 60, 8),
        "instances_at_work",
    ),
    "studies to end": (lambda ledger: ledger.quieten(0), "studies_by_state"),
    "studies to claim": (
        lambda ledger: ledger.claim_quiet_study(WORKER, 60), "studies_at_rest",
    ),
    "deliveries to claim": (
        lambda ledger: ledger.claim_deliveries(WORKER, 60, 8), "deliveries_due",
    ),
    "deliveries to expire": (lambda ledger: ledger.expire_deliveries(), "deliveries_expiring"),
    "what a worker holds": (lambda ledger: ledger.release(WORKER), "instances_leased"),
    "headers to read": (lambda ledger: ledger.without_facts(32), "facts_wanted"),
    "studies to describe": (lambda ledger: ledger.undescribed(32), "cases_undescribed"),
    "patients to note": (lambda ledger: ledger.unkeyed(32), "instances_unkeyed"),
    "a patient's course": (
        lambda ledger: ledger.earlier(StudyId(1), 10), "instances_by_patient",
    ),
    "a patient's earlier findings": (
        lambda ledger: ledger.earlier_severity(StudyId(1), "key"), "instances_by_patient",
    ),
    "the case list": (lambda ledger: ledger.cases(CaseQuery()), "cases_by_time"),
    "the case list, severe first": (
        lambda ledger: ledger.cases(CaseQuery(order="severity")), "cases_by_severity",
    ),
    "a name in the case list": (
        lambda ledger: ledger.cases(CaseQuery(words="doe")), "SEARCH cases USING INTEGER PRIMARY",
    ),
    "a name in the outbox": (
        lambda ledger: ledger.outbox(OutboxQuery(words="doe")), "deliveries_by_study",
    ),
    "what waits in the outbox": (
        lambda ledger: ledger.outbox(OutboxQuery(state=DeliveryState.WAITING)),
        "deliveries_by_state",
    ),
    "how many rows there are": (lambda ledger: ledger.counts(), "SEARCH tallies"),
    "how many studies there are": (lambda ledger: ledger.study_count(), "SEARCH tallies"),
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = open_ledger(tmp_path / "ledger.sqlite", who="test")
    study_in(opened, State.REPORTED)
    opened.received(arrival(2))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_of_all_day_is_answered_by_an_index_of_few_rows(
    ledger: SqliteLedger, name: str
) -> None:
    ask, index = QUESTIONS[name]
    with asked_of(ledger) as asked:
        ask(ledger)
    read = [each for each in asked if re.match(r"\s*(select|with|update)", each, re.IGNORECASE)]
    plan = [row[3] for each in read for row in run(ledger, f"explain query plan {each}")]
    assert any(index in step for step in plan), plan
    walked = [
        step for step in plan if re.match(r"SCAN (?!names|case_words|suspect|free)\w+$", step)
    ]
    assert walked == []
