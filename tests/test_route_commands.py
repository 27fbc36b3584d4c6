"""Who would get what, by command: before any film comes, and of a study that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicom_node.intake.admit import OWN_RESULT
from dicom_node.intake.routing import route
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import Arrival, Digest, InstanceState, Origin, StudyId
from dicom_node.settings import load_configuration
from tests.commands_kit import Run, a_ledger, a_site, runner

__all__ = ["a_ledger", "a_site", "runner"]

TABLE = {
    "MOD1": 'results_to = ["PACS", "READER"]',
    "PACS": 'host = "127.0.0.1"\nport = 104\nobjects = ["sr", "capture"]',
    "READER": 'host = "127.0.0.1"\nport = 105\nobjects = ["sr"]\nrelease = "approve"\n'
    "answer_always = true",
    "SILENT": "may_send = false",
}


@pytest.fixture(autouse=True)
def table(site: Path) -> None:
    for ae_title, keys in TABLE.items():
        text = f'ae_title = "{ae_title}"\n{keys}\n'
        (site / "remotes" / f"{ae_title.lower()}.toml").write_text(text)


def receive(ledger: SqliteLedger, sender: str, declined: str = "") -> int:
    """Receive a film of a study of its own; return the number of the study."""
    digest = Digest(sender[:1] * 64)
    arrival = Arrival("1.5", "1.1", "1.2", "1.6", "1.7", digest, 9, Origin(sender, "N", "10.0.0.7"))
    ledger.received(arrival)
    if declined:
        (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
        ledger.declined(film.id, "w", declined)
    study = ledger.find_study("1.6")
    assert study is not None
    return study.id


def test_a_sender_is_told_who_would_get_what_and_why_not(run: Run) -> None:
    done = run("ae", "route", "MOD1")
    assert done.exit_code == 0
    analysed, _, declined = done.output.partition("Where none")
    assert "PACS gets sr, capture, at once (the report as the first that it accepts" in analysed
    assert "READER gets sr, after a person has approved" in analysed
    assert "gets nothing" not in analysed
    assert "PACS gets nothing: it wants no answer" in declined
    assert "READER gets sr" in declined


def test_a_sender_s_route_is_the_one_that_reports_are_sent_by(run: Run, site: Path) -> None:
    told = json.loads(run("ae", "route", "MOD1", "--json").output)
    remotes = load_configuration(site).remotes
    for what, analysed in (("analysed", True), ("not_analysed", False)):
        routed = route(("MOD1",), remotes, analysed=analysed)
        said = [(each["ae_title"], tuple(each["objects"])) for each in told[what]["recipients"]]
        assert said == [(each.ae_title, each.kinds) for each in routed.recipients]
        assert len(told[what]["left_out"]) == len(routed.left_out)


@pytest.mark.parametrize(
    ("ae_title", "why"),
    [
        ("STRANGER", "is not in the AE table: its associations are rejected"),
        ("mod1", "did you mean 'MOD1'?"),
        ("SILENT", "may not send"),
    ],
)
def test_who_would_get_no_answer_is_told_why(run: Run, ae_title: str, why: str) -> None:
    done = run("ae", "route", ae_title)
    assert done.exit_code == 1
    assert why in done.output


def test_a_stranger_whom_the_node_accepts_is_told_that_nobody_gets_anything(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOM_NODE__ADMISSION__UNKNOWN_AE", "accept")
    done = run("ae", "route", "STRANGER")
    assert done.exit_code == 1
    assert "rejected" not in done.output
    assert "STRANGER gets nothing: it is not in the AE table" in done.output


def test_a_stored_study_is_routed_by_today_s_table(
    run: Run, ledger: SqliteLedger, site: Path
) -> None:
    number = str(receive(ledger, "MOD1"))
    told = json.loads(run("cases", "route", number, "--json").output)
    assert told["senders"] == ["MOD1"]
    assert told["waiting"] == 1
    assert [each["ae_title"] for each in told["recipients"]] == ["PACS", "READER"]
    assert told["left_out"] == []
    (site / "remotes" / "mod1.toml").unlink()
    done = run("cases", "route", number)
    assert done.exit_code == 1
    assert "MOD1 gets nothing: it is not in the AE table" in done.output
    assert "1 of its films waits" in done.output


def test_of_a_declined_study_those_alone_are_told_who_want_an_answer_always(
    run: Run, ledger: SqliteLedger
) -> None:
    number = receive(ledger, "MOD1", declined="view position LL is not frontal")
    done = run("cases", "route", str(number))
    assert done.exit_code == 0
    assert "No film of it was analysed" in done.output
    assert "READER gets sr" in done.output
    assert "PACS gets nothing: it wants no answer" in done.output


def test_our_own_result_that_comes_back_goes_to_nobody(run: Run, ledger: SqliteLedger) -> None:
    number = receive(ledger, "MOD1", declined=OWN_RESULT)
    told = json.loads(run("cases", "route", str(number), "--json").output)
    assert told["recipients"] == []
    assert "no film to tell of" in told["reason"]


def test_what_was_taken_back_goes_to_nobody_until_a_film_is_analysed_again(
    run: Run, ledger: SqliteLedger
) -> None:
    number = receive(ledger, "MOD1", declined="view position LL is not frontal")
    ledger.retracted(StudyId(number), [], "person:admin", keep_hours=1)
    done = run("cases", "route", str(number))
    assert done.exit_code == 1
    assert "nobody gets anything: results retracted by person:admin" in done.output
    (film,) = ledger.instances(StudyId(number))
    ledger.asked_again(film.id, "person:admin")
    told = json.loads(run("cases", "route", str(number), "--json").output)
    assert [each["ae_title"] for each in told["recipients"]] == ["PACS", "READER"]


def test_routing_sends_and_changes_nothing(run: Run, ledger: SqliteLedger) -> None:
    number = receive(ledger, "MOD1")
    before = (len(ledger.deliveries()), len(ledger.events(study_id=StudyId(number))))
    run("cases", "route", str(number))
    run("ae", "route", "MOD1")
    assert (len(ledger.deliveries()), len(ledger.events(study_id=StudyId(number)))) == before
