"""What was sent where and when: of whom, to whom, with which answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.ledger import open_ledger
from dicom_node.ledger.interface import Outgoing
from dicom_node.ledger.migrations import migrate, migrations
from dicom_node.ledger.outbox import OutboxQuery
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.moments import day_span, zone_of
from dicom_node.records import (
    Arrival,
    DeliveryState,
    Digest,
    InstanceState,
    ObjectKind,
    Origin,
    ResultObject,
)
from tests.ledger_kit import Clock, fresh_ledger

BEGUN = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
"""23:30 in Berlin."""


@pytest.fixture
def clock() -> Clock:
    return Clock(BEGUN)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "node.toml").write_text('[node]\ntimezone = "Europe/Berlin"\n', "utf-8")
    return tmp_path


@pytest.fixture
def ledger(site: Path, clock: Clock) -> SqliteLedger:
    """Three studies, an hour apart: a report sent, a picture held for approval, one refused."""
    made = fresh_ledger(site / "var" / "ledger.sqlite", who="test", clock=clock)
    for number, kind in enumerate((ObjectKind.REPORT, ObjectKind.CAPTURE, ObjectKind.REPORT), 1):
        study = _reported(made, number, kind)
        made.described(
            [(study, {"patient_name": f"DOE^N{number}", "patient_id": f"P{number}",
                      "accession_number": f"A000{number}"})]
        )  # fmt: skip
        for item in made.claim_deliveries("deliver", 60, 1):
            if number == 1:
                made.sent(item.id, "deliver", 0xB000)
            else:
                made.delivery_refused(item.id, "deliver", "0xA900: not understood", 0xA900)
        clock.tick(hours=1)
    return made


def _reported(ledger: SqliteLedger, number: int, kind: ObjectKind) -> int:
    uid = f"1.2.{number}"
    origin = Origin("PACS", "DICOMNODE", "10.0.0.5")
    ledger.received(
        Arrival(uid, "1.1", "1.2", f"{uid}.5", f"{uid}.6", Digest(str(number) * 64), 9, origin)
    )
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
    ledger.declined(film.id, "w", "no chest")
    ledger.quieten(0)
    study = ledger.claim_quiet_study("w", 60)
    assert study is not None
    item = ResultObject(f"{kind}:{number}", kind, f"2.25.{number}", "1.3", "2.25.9", Digest("d"), 1)
    destination, held = (
        ("PACS", "approve" if number == 2 else None) if number < 3 else ("RIS", None)
    )
    ledger.reported(
        study, "w", [Outgoing(destination, (item,), held)], keep_hours=1, signature=str(number)
    )
    return study.id


def listed(site: Path, *more: str) -> list[dict[str, object]]:
    command = ["outbox", "list", "--json", "--config", str(site), *more]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    answer: list[dict[str, object]] = json.loads(done.stdout)
    return answer


def test_a_delivery_tells_when_it_was_sent_of_whom_where_to_and_the_answer(
    site: Path, ledger: SqliteLedger
) -> None:
    refused, held, sent = listed(site)
    assert sent["sent_at"] == "2026-11-24T22:30:00+00:00"
    assert (sent["words"], sent["destination"], sent["status"]) == ("report", "PACS", "0xB000")
    assert sent["accession_number"] == "A0001"
    assert (held["sent_at"], held["held"], held["words"]) == (None, "approve", "summary picture")
    assert (refused["sent_at"], refused["status"]) == (None, "0xA900")
    said = CliRunner().invoke(app, ["outbox", "--config", str(site)]).stdout
    for part in ("2026-11-24 23:30:00 CET", "A0001", "0xB000", "approval by a person"):
        assert part in said


def test_patients_are_named_only_where_that_is_asked_for(site: Path, ledger: SqliteLedger) -> None:
    command = ["outbox", "list", "--config", str(site)]
    for more in ([], ["--json"]):
        assert "DOE" not in CliRunner().invoke(app, [*command, *more]).stdout
        named = CliRunner().invoke(app, [*command, *more, "--patients"]).stdout
        for part in ("DOE^N1", "P1"):
            assert part in named


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("--to", "RIS"), ["A0003"]),
        (("--search", "A0001"), ["A0001"]),
        (("--search", "doe n2"), ["A0002"]),
        (("--search", "1.2.3.5"), ["A0003"]),
        (("--search", "nobody"), []),
        # The second was written at half past midnight: in Berlin another day, in UTC the same.
        (("--since", "2026-11-24", "--until", "2026-11-24"), ["A0001"]),
        (("--since", "2026-11-25"), ["A0003", "A0002"]),
        (("--until", "2026-11-24", "--utc"), ["A0002", "A0001"]),
        (("--state", "sent", "--to", "PACS", "--search", "P1"), ["A0001"]),
    ],
)
def test_deliveries_are_found_by_ae_day_and_text(
    site: Path, ledger: SqliteLedger, asked: tuple[str, ...], found: list[str]
) -> None:
    assert [row["accession_number"] for row in listed(site, *asked)] == found


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "0001-01-01", "9999-12-31"])
def test_what_is_no_day_is_a_usage_error(site: Path, ledger: SqliteLedger, day: str) -> None:
    command = ["outbox", "list", "--until", day, "--config", str(site)]
    assert CliRunner().invoke(app, command).exit_code == 2


def test_a_day_of_the_site_is_23_or_25_hours_long_where_clocks_change() -> None:
    berlin = zone_of("Europe/Berlin")
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-24", 24)):
        begins, ends = day_span(day, day, berlin)
        assert begins is not None
        assert ends is not None
        assert ends.astimezone(UTC) - begins.astimezone(UTC) == timedelta(hours=hours)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("group", ["outbox", "cases"])
def test_programs_are_told_too_what_a_limit_leaves_out(site: Path, group: str) -> None:
    command = [group, "list", "--json", "--limit", "2", "--config", str(site)]
    told = CliRunner().invoke(app, command)
    assert len(json.loads(told.stdout)) == 2
    assert told.stderr == "and 1 more: --limit says how many are shown.\n"


def test_what_a_limit_leaves_out_is_counted(ledger: SqliteLedger) -> None:
    rows, count = ledger.outbox(OutboxQuery(limit=2))
    assert (len(rows), count) == (2, 3)
    rest, count = ledger.outbox(OutboxQuery(limit=2, before=rows[-1].delivery.id))
    assert (len(rest), count) == (1, 3)


def test_a_delivery_sent_again_keeps_when_it_was_taken_until_it_is_again(
    ledger: SqliteLedger, clock: Clock
) -> None:
    (row,), _ = ledger.outbox(OutboxQuery(state=DeliveryState.SENT))
    ledger.resend(row.delivery.id, "me", 1)
    assert ledger.delivery(row.delivery.id).sent_at == BEGUN
    (again,) = ledger.claim_deliveries("deliver", 60, 1)
    ledger.sent(again.id, "deliver", 0)
    assert ledger.delivery(again.id).sent_at == clock.now


def test_the_story_names_object_and_destination(site: Path, ledger: SqliteLedger) -> None:
    shown = CliRunner().invoke(app, ["cases", "show", "1", "--config", str(site)]).stdout
    story = shown.partition("Story")[2]
    (line,) = [line for line in story.splitlines() if "delivery.sent" in line]
    assert line.endswith("report to PACS")
    assert "report to PACS  sent, sent 2026-11-24 23:30:00 CET" in shown


def test_cases_are_found_by_accession_number_and_held_ones_say_why(
    site: Path, ledger: SqliteLedger
) -> None:
    run: Callable[..., str] = lambda *a: CliRunner().invoke(app, [*a, "--config", str(site)]).stdout  # noqa: E731
    assert "Study 2  1.2.2.5" in run("cases", "show", "A0002")
    (row,) = json.loads(run("cases", "list", "--json", "--search", "A0002"))
    assert row["accession_number"] == "A0002"
    assert "PACS: wants approval by a person" in row["why"]
    assert row["reason"] == "no chest"
    assert row["deliveries"][0]["sent_at"] is None
    assert run("cases", "list", "--search", "nobody") == "No study: none matches.\n"


def test_deliveries_of_an_earlier_release_know_when_they_were_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    before = Migrations("dicom_node")
    before._migrations.append(migrations._migrations[0])
    migrate(Database(old), before)
    old.execute("insert into studies (id, study_instance_uid, state, opened_at, changed_at)"
                " values (1, '1.2', 'reported', '2026-01-01', '2026-01-01')")  # fmt: skip
    old.execute(
        "insert into deliveries (id, study_id, group_key, kind, destination, state, created_at,"
        " next_attempt_at, expires_at) values (7, 1, 'sr:1', 'sr', 'PACS', 'sent',"
        " '2026-01-01', '2026-01-01', '2026-01-08')"
    )
    old.execute(
        "insert into events (at, what, who, study_id, delivery_id)"
        " values ('2026-01-02T03:04:05+00:00', 'delivery.sent', 'deliver', 1, 7)"
    )
    old.close()
    ledger = open_ledger(path, who="test")
    (delivery,) = ledger.deliveries()
    assert delivery.sent_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
