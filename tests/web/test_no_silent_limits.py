"""Nothing is cut in silence: what a study bounds is whole, a list says what it leaves out."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from dicom_node.ledger.connection import text_of, utc_now
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import StudyId
from tests.web.conftest import Site, post

MANY = 130


def fill(ledger: SqliteLedger, study_id: int, number: int, held: str | None) -> None:
    """Give a study so many waiting deliveries."""
    moment = text_of(utc_now())
    with ledger._connection.transaction() as connection:
        for each in range(number):
            uid = f"1.2.9.{study_id}.{each}"
            connection.insert(
                "results", study_id=study_id, revision=1, group_key=uid, kind="sr",
                sop_instance_uid=uid, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
                series_instance_uid="1.2.9", digest="0" * 64, size_bytes=1,
                written_at=moment,
            )  # fmt: skip
            connection.insert(
                "deliveries", study_id=study_id, group_key=uid, destination="PACS",
                kind="sr", state="waiting", created_at=moment, next_attempt_at=moment,
                expires_at=moment, held=held,
            )  # fmt: skip


def test_one_press_approves_every_held_result_of_a_case_whatever_their_number(site: Site) -> None:
    case, other = site.receive(1), site.receive(2)
    ledger = site.house.ledger
    fill(ledger, case, MANY, "approve")
    fill(ledger, other, 3, "approve")
    client = site.client("operator")
    answer = post(client, f"/cases/{case}/release")
    assert "Approved" in answer.text  # type: ignore[attr-defined]
    held = {item.held for item in ledger.deliveries(study_id=StudyId(case))}
    assert held == {None}
    assert len(ledger.deliveries(study_id=StudyId(case))) == MANY
    assert {item.held for item in ledger.deliveries(study_id=StudyId(other))} == {"approve"}
    released = [event for event in ledger.events(study_id=StudyId(case))
                if event.what == "delivery.released"]  # fmt: skip
    assert len(released) == MANY
    again = post(client, f"/cases/{case}/release")
    assert "Nothing here waits" in again.text  # type: ignore[attr-defined]


def test_what_is_in_shadow_is_approved_by_no_number_of_presses(site: Site) -> None:
    case = site.receive(1)
    fill(site.house.ledger, case, 3, "shadow")
    post(site.client("operator"), f"/cases/{case}/release")
    held = {item.held for item in site.house.ledger.deliveries(study_id=StudyId(case))}
    assert held == {"shadow"}


def test_a_case_shows_every_one_of_its_deliveries(site: Site) -> None:
    case = site.receive(1)
    fill(site.house.ledger, case, MANY, None)
    assert site.client("reader").get(f"/cases/{case}").text.count("to PACS") == MANY


@pytest.mark.parametrize(("number", "told"), [(250, "50 more"), (200, "")])
def test_the_outbox_says_how_much_it_leaves_out(site: Site, number: int, told: str) -> None:
    case = site.receive(1)
    fill(site.house.ledger, case, number, None)
    page = site.client("reader").get("/outbox").text
    assert ("more, which are older" in page) == bool(told)
    assert told in page


def test_the_api_counts_what_it_leaves_out_and_goes_on_behind_it(site: Site) -> None:
    case = site.receive(1)
    fill(site.house.ledger, case, MANY, None)
    client = site.client("reader")
    first = client.get("/api/deliveries")
    assert first.headers["x-total-count"] == str(MANY)
    assert len(first.json()) == 100
    rest = client.get(f"/api/deliveries?before={first.json()[-1]['id']}").json()
    assert len({item["id"] for item in first.json() + rest}) == MANY


def test_the_audit_trail_goes_on_behind_its_first_page(site: Site) -> None:
    ledger = site.house.ledger
    for number in range(210):
        ledger.note("somebody", f"step-{number}")
    client = site.client("admin")
    first = client.get("/audit").text
    assert "step-209" in first
    assert "step-0<" not in first
    older = first.partition('href="/audit?before=')[2].partition('"')[0]
    assert "step-0<" in client.get(f"/audit?before={older}").text


def test_the_audit_trail_is_saved_whole_whatever_its_length(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.web.pages.people._EXPORTED_AT_ONCE", 7)
    monkeypatch.setattr("dicom_node.results.spreadsheet._PIECE", 100)
    for number in range(30):
        site.house.ledger.note("somebody", f"step-{number}", "=1+1")
    rows = list(csv.DictReader(io.StringIO(site.client("admin").get("/audit.csv").text)))
    assert rows[0]["what"] == "audit.exported"
    noted = [row for row in rows if row["who"] == "somebody"]
    assert [row["what"] for row in noted] == [f"step-{number}" for number in range(30)[::-1]]
    assert {row["detail"] for row in noted} == {"'=1+1"}


def test_the_page_says_a_week_before_how_much_of_the_audit_trail_will_go(site: Site) -> None:
    ledger, client = site.house.ledger, site.client("admin")
    ledger.note("somebody", "long-ago")
    assert "go within a week" not in client.get("/audit").text
    days = site.house.settings.retention.audit_days
    old = (ledger.moment() - timedelta(days=days - 3)).isoformat()
    ledger._connection.run("update audit set at = :old where what = 'long-ago'", old=old)
    ledger._connection.run("update audit set id = 0 where what = 'long-ago'")
    page = client.get("/audit").text
    assert f"kept for {days} days" in page
    assert "The oldest 1 of them go within a week" in page
