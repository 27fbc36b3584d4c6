"""Times for people are the site's, with the zone named; times for machines are UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import SettingsError
from dicom_node.ledger import open_ledger
from dicom_node.moments import day, machine_readable, shown, zone_of
from dicom_node.records import Arrival, Digest, Origin
from dicom_node.settings import load_configuration

BERLIN = zone_of("Europe/Berlin")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("utc", "zone", "said"),
    [
        ("2026-11-25T23:14:00", "Europe/Berlin", "2026-11-26 00:14 CET"),
        ("2026-07-01T10:00:00", "Europe/Berlin", "2026-07-01 12:00 CEST"),
        ("2026-11-25T23:14:00", "UTC", "2026-11-25 23:14 UTC"),
        ("2026-11-25T23:14:00", "America/Sao_Paulo", "2026-11-25 20:14 UTC-03:00"),
        ("2026-11-25T23:14:00", "Asia/Kathmandu", "2026-11-26 04:59 UTC+05:45"),
        # The hour that clocks pass twice, and the one that they leave out.
        ("2026-10-25T00:30:00", "Europe/Berlin", "2026-10-25 02:30 CEST"),
        ("2026-10-25T01:30:00", "Europe/Berlin", "2026-10-25 02:30 CET"),
        ("2026-03-29T00:59:00", "Europe/Berlin", "2026-03-29 01:59 CET"),
        ("2026-03-29T01:00:00", "Europe/Berlin", "2026-03-29 03:00 CEST"),
    ],
)
def test_a_moment_is_shown_in_the_site_s_zone_with_the_zone_named(
    utc: str, zone: str, said: str
) -> None:
    assert shown(instant(utc), zone_of(zone)) == said
    assert shown(instant(utc).isoformat(), zone_of(zone)) == said


def test_seconds_the_site_s_day_and_utc_for_programs_are_there() -> None:
    moment = instant("2026-11-25T23:14:05")
    assert shown(moment, BERLIN, seconds=True) == "2026-11-26 00:14:05 CET"
    assert day(moment, BERLIN) == "2026-11-26"
    assert machine_readable(moment.astimezone(BERLIN)) == "2026-11-25T23:14:05Z"


def test_without_a_setting_the_system_s_zone_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert shown(instant("2026-11-25T23:14:00"), zone_of("")) == "2026-11-26 08:14 JST"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("berlin", "did you mean 'Europe/Berlin'?"),
        ("new york", "did you mean 'America/New_York'?"),
        ("Europe", "IANA"),
        ("../../etc/passwd", "IANA"),
        ("/etc/localtime", "IANA"),
        # The nearest name, Etc/GMT+1, lies west of Greenwich: none is better than a wrong one.
        ("GMT+1x", "such as"),
        ("UTC+1", "such as"),
        # Nor is EST, six hours off.
        ("CEST", "such as"),
        ("BERLIN", "did you mean 'Europe/Berlin'?"),
    ],
)
def test_a_zone_that_there_is_not_is_a_fault_with_line_key_and_what_was_meant(
    tmp_path: Path, written: str, remedy: str
) -> None:
    (tmp_path / "node.toml").write_text(f'[node]\nport = 104\ntimezone = "{written}"\n', "utf-8")
    with pytest.raises(SettingsError) as caught:
        load_configuration(tmp_path)
    (fault,) = caught.value.faults
    assert fault.startswith(f"node.toml:3: node.timezone: {written!r} is no time zone — ")
    if "IANA" not in remedy:
        assert remedy in fault


@pytest.fixture
def site(tmp_path: Path) -> list[str]:
    """The options of a site in Berlin that has received one film."""
    (tmp_path / "node.toml").write_text('[node]\ntimezone = "Europe/Berlin"\n', "utf-8")
    ledger = open_ledger(tmp_path / "data" / "ledger.sqlite", who="test")
    origin = Origin("PACS", "DICOMNODE", "10.0.0.5")
    ledger.received(Arrival("1.2.1", "1.1", "1.2", "1.3", "1.4", Digest("1" * 64), 9, origin))
    ledger.close()
    return ["--config", str(tmp_path), "--data-dir", str(tmp_path / "data")]


@pytest.mark.parametrize("command", [("cases",), ("cases", "list"), ("cases", "show", "1")])
def test_commands_show_the_site_s_time_and_json_is_utc(
    site: list[str], command: tuple[str]
) -> None:
    said = CliRunner().invoke(app, [*command, *site]).stdout
    assert " CET" in said or " CEST" in said
    if len(command) > 1:
        assert " UTC" in CliRunner().invoke(app, [*command, *site, "--utc"]).stdout
    answer = json.loads(CliRunner().invoke(app, ["cases", "list", "--json", *site]).stdout)
    assert datetime.fromisoformat(answer[0]["changed_at"]).utcoffset() == UTC.utcoffset(None)
