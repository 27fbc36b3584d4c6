"""The page that tells what was sent where and when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from dicom_node.records import StudyId
from tests.web.conftest import PASSWORD, Site


@pytest.fixture
def sent(site: Site) -> int:
    """A case whose results were sent, of a patient with an accession number."""
    case = site.receive(1, report=True, PatientName="DOE^JANE", AccessionNumber="A17")
    site.node.deliver()
    return case


def test_the_outbox_tells_patient_object_destination_and_when(site: Site, sent: int) -> None:
    page = site.client("reader").get("/outbox").text
    for part in ("DOE, JANE", "A17", "summary picture", "<td>report</td>", "PACS", "0x0000"):
        assert part in page
    item = site.house.ledger.deliveries()[0]
    assert item.sent_at is not None
    assert f'<time datetime="{item.sent_at:%Y-%m-%dT%H:%M:%SZ}"' in page
    seen = [(line.who, line.what) for line in site.house.ledger.audit()]
    assert ("reader", "cases.listed") in seen


def test_the_outbox_is_searched_by_ae_day_and_text(site: Site, sent: int) -> None:
    client = site.client("reader")
    today = datetime.now(UTC).astimezone()
    later = f"{today + timedelta(days=2):%Y-%m-%d}"
    for query, found in (
        ("words=a17", True), ("words=nobody", False), ("to=PACS", True), ("to=RIS", False),
        (f"until={later}", True), (f"since={later}", False), ("state=sent", True),
        ("state=refused", False), ("state=&to=&words=&since=&until=", True),
    ):  # fmt: skip
        page = client.get(f"/outbox?{query}").text
        assert ("DOE, JANE" in page) == found, query
    assert client.get("/outbox?since=2026-13-40").status_code == 422
    assert client.get("/outbox?since=0001-01-01").status_code == 422


def test_the_story_of_a_case_names_object_and_destination(site: Site, sent: int) -> None:
    page = site.client("reader").get(f"/cases/{sent}").text
    story = page.partition("<summary>Story")[2]
    lines = re.findall(r"<li>.*?delivery\.sent.*?</li>", story)
    assert len(lines) == 2
    assert any("report to PACS" in line for line in lines)
    assert any("summary picture to PACS" in line for line in lines)


def test_the_api_tells_when_in_utc(site: Site, sent: int) -> None:
    client = site.client(None)
    answer = client.get("/api/deliveries?destination=PACS", auth=("reader", PASSWORD)).json()
    moments = [datetime.fromisoformat(each["sent_at"]) for each in answer]
    assert len(moments) == 2
    assert {moment.utcoffset() for moment in moments} == {timedelta(0)}
    after = {"since": (max(moments) + timedelta(seconds=1)).isoformat()}
    answer = client.get("/api/deliveries", params=after, auth=("reader", PASSWORD))
    assert answer.json() == []
    assert answer.headers["x-total-count"] == "0"


def test_a_case_whose_pacs_is_down_says_so_with_the_next_try(site: Site) -> None:
    case = site.receive(1, report=True)
    ledger = site.house.ledger
    for item in ledger.claim_deliveries("deliver", 60, 10):
        due = datetime(2026, 11, 26, 12, tzinfo=UTC)
        ledger.postponed(item.id, "deliver", due, "PACS cannot be reached.")
    page = site.client("reader").get(f"/cases/{case}").text
    assert "Not sent after 1 try, the next at 2026-11-26" in page
    assert "PACS cannot be reached." in page
    assert "on its way" not in page


@pytest.mark.parametrize(
    ("held", "told"),
    [("approve", "wants approval by a person"), ("shadow", "never sent (shadow)")],
)
def test_a_case_that_is_held_says_which_way(site: Site, held: str, told: str) -> None:
    case = site.receive(1, report=True)
    ledger = site.house.ledger
    ledger._connection.run("update deliveries set held = :held", held=held)
    (first, *_) = ledger.deliveries(study_id=StudyId(case))
    ledger._connection.run("update cases set delivery = 'held'")
    page = site.client("reader").get(f"/cases/{case}").text
    assert f"The result stays here. {first.destination}: " in page
    assert told in page


def test_the_outbox_says_a_week_before_that_a_case_will_go_which_nobody_took(site: Site) -> None:
    case = site.receive(1, report=True)
    ledger, client = site.house.ledger, site.client("reader")
    for delivery in ledger.deliveries():
        ledger.drop(delivery.id, "person:admin")
    assert "goes within a week" not in client.get("/outbox").text
    days = site.house.settings.retention.parked_days
    old = (ledger.moment() - timedelta(days=days - 3)).isoformat()
    ledger._connection.run(
        "update studies set changed_at = :old where id = :case", old=old, case=case
    )
    page = client.get("/outbox").text
    assert "1 case goes within a week" in page
    assert f"for {days} days" in page
