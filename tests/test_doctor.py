"""The doctor looks at everything, says what to do next, changes nothing, and names nobody."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.imaging.phantom import phantom_dataset
from dicom_node.intake.take import FrontDoor
from dicom_node.ledger import open_ledger
from dicom_node.ledger.copying import copy_ledger
from dicom_node.line.doctor import MoreChecks, examine, machine
from dicom_node.logs import Log
from dicom_node.records import AlarmKind, Digest, InstanceState, Origin, Worker
from dicom_node.settings import Settings
from tests.backup_kit import House, a_house
from tests.certificates import make_keys
from tests.commands_kit import FINDINGS, Run, a_site, runner
from tests.conftest import debian
from tests.ledger_kit import Clock, arrival, fresh_ledger, parcels
from tests.node.peers import Storescp, free_port

__all__ = ["a_house", "a_site", "runner"]

CANARY = "CANARY"
Areas = dict[str, list[dict[str, Any]]]


def told_by(run: Run, *arguments: str, status: int | None = None) -> Areas:
    """Return what the doctor says, by area."""
    done = run("doctor", "--json", *arguments)
    assert done.exit_code in (0, 1), (done.output, done.exception)
    told = json.loads(done.stdout)
    assert told["well"] == (done.exit_code == 0)
    if status is not None:
        assert done.exit_code == status, told
    areas: Areas = {}
    for each in told["checked"]:
        areas.setdefault(each["area"], []).append(each)
        # Whatever is not well says what to do.
        assert each["condition"] == "well" or each["remedy"], each
    return areas


def conditions(areas: Areas, area: str) -> set[str]:
    return {each["condition"] for each in areas[area]}


def sentences(areas: Areas, area: str) -> str:
    return "\n".join(f"{each['sentence']} {each.get('remedy', '')}" for each in areas[area])


def test_a_new_node_has_no_fault_and_every_area_is_looked_at(house: House, run: Run) -> None:
    house.receives(1)
    assert set(told_by(run, status=0)) == {
        "versions", "permissions", "machine", "confinement", "clock", "settings", "disk", "ledger",
        "spool", "certificates", "roles", "queues", "events", "ports", "networks", "peers",
        "backups", "pages",
    }  # fmt: skip


def test_the_text_has_a_line_for_each_and_counts_them(house: House, run: Run) -> None:
    done = run("doctor")
    assert done.exit_code == 0, done.output
    assert "well    versions     dicom-node" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 faults, ")


def test_a_fault_of_the_settings_is_told_and_the_rest_is_looked_at(house: House, run: Run) -> None:
    node = house.config / "node.toml"
    node.write_text(node.read_text().replace('"opacity-zones"', '"no-such-network"'))
    areas = told_by(run, status=1)
    assert "no-such-network" in sentences(areas, "settings")
    assert conditions(areas, "ledger") == {"well"}
    node.write_text("[node]\nae_title = 7\n")
    areas = told_by(run, status=1)
    assert conditions(areas, "settings") == {"fault"}
    assert "ledger" not in areas
    assert "versions" in areas


def test_too_little_room_is_a_fault_and_little_a_warning(house: House, run: Run) -> None:
    space = os.statvfs(house.data)
    free = space.f_bavail * space.f_frsize
    node, text = house.config / "node.toml", (house.config / "node.toml").read_text()
    for reserve, condition in ((free * 2, "fault"), (free // 2, "warning")):
        changed = text.replace("min_free_bytes = 1000000000", f"min_free_bytes = {reserve}")
        changed = changed.replace("min_free_bytes = 1_000_000_000", f"min_free_bytes = {reserve}")
        node.write_text(changed)
        assert condition in conditions(told_by(run), "disk")


def test_data_that_others_may_see_are_told_with_the_command_that_mends_it(
    house: House, run: Run
) -> None:
    house.data.chmod(0o755)
    (house.data / "ledger.sqlite").chmod(0o644)
    said = sentences(told_by(run), "permissions")
    assert f"chmod 700 {house.data}" in said
    assert f"chmod 600 {house.data / 'ledger.sqlite'}" in said


def test_films_without_a_ledger_are_a_fault_and_none_is_made(house: House, run: Run) -> None:
    house.receives(1)
    for path in house.data.glob("ledger.sqlite*"):
        path.unlink()
    areas = told_by(run, status=1)
    assert "restore" in sentences(areas, "ledger")
    assert not (house.data / "ledger.sqlite").exists()


def test_a_damaged_ledger_is_a_fault_and_the_rest_is_looked_at(house: House, run: Run) -> None:
    ledger = house.ledger()
    for number in range(300):
        ledger.received(arrival(number))
    ledger.close()
    path = house.data / "ledger.sqlite"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(8192))
    areas = told_by(run, status=1)
    assert "fault" in conditions(areas, "ledger")
    assert "networks" in areas


@pytest.mark.parametrize("change", ["older", "newer"])
def test_a_ledger_of_another_release_is_not_changed(house: House, run: Run, change: str) -> None:
    ledger = house.ledger()
    if change == "older":
        ledger._connection.run(
            "delete from _sqlite_migrations where id = (select max(id) from _sqlite_migrations)"
        )
    else:
        ledger._connection.run(
            "insert into _sqlite_migrations (migration_set, name, applied_at)"
            " values ('dicom_node', 'm999_later', '')"
        )
    rows = ledger._connection.all("select name from _sqlite_migrations")
    ledger.close()
    areas = told_by(run)
    assert "another release" in sentences(areas, "ledger")
    assert "roles" not in areas
    copy_ledger(house.data / "ledger.sqlite", house.folder / "copy", lambda *_: None)
    import sqlite3

    now = sqlite3.connect(house.folder / "copy").execute("select name from _sqlite_migrations")
    assert [name for (name,) in now] == [row["name"] for row in rows]


def test_a_port_that_another_program_has_is_a_fault(house: House, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        node = house.config / "node.toml"
        text = node.read_text().replace("port = 11112", f"port = {other.getsockname()[1]}")
        node.write_text(text)
        areas = told_by(run, status=1)
    assert "taken by another program" in sentences(areas, "ports")
    assert "taken" not in sentences(told_by(run), "ports")


@pytest.mark.pacs("openssl")
def test_a_certificate_that_ends_soon_is_a_warning(house: House, run: Run, tmp_path: Path) -> None:
    keys = make_keys(tmp_path)
    tls = f'[tls]\ncertificate = "{keys}/node.pem"\nkey = "{keys}/node.key"\n'
    with (house.config / "node.toml").open("a") as file:
        file.write(f'\n{tls}ca = "{keys}/hospital.pem"\n')
    areas = told_by(run, status=0)
    assert "warning" in conditions(areas, "certificates")
    assert "tls.certificate" in sentences(areas, "certificates")


@pytest.mark.parametrize(("hours", "condition"), [(0, "well"), (2, "warning"), (30, "fault")])
def test_work_that_waits_for_hours_is_told(
    house: House, run: Run, hours: int, condition: str
) -> None:
    (house.data / "ledger.sqlite").unlink()
    clock = Clock(datetime.now(UTC) - timedelta(hours=hours, seconds=1))
    ledger = fresh_ledger(house.data / "ledger.sqlite", who="test", clock=clock)
    ledger.received(arrival(1))
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
    ledger.admitted(film.id, "w", "PA")
    (film,) = ledger.claim_instances(InstanceState.ADMITTED, "w", 60, 1)
    ledger.analysed(film.id, "w", json.dumps(FINDINGS), None)
    ledger.quieten(0)
    study = ledger.claim_quiet_study("w", 60)
    assert study is not None
    ledger.reported(study, "w", parcels("sr", to=("MAINPACS",)), keep_hours=100, signature="s")
    ledger.received(arrival(2))
    ledger._connection.run("delete from clock")
    ledger.close()
    areas = told_by(run)
    waiting = {
        each["facts"]["where"]: each["condition"]
        for each in areas["queues"]
        if "where" in each.get("facts", {})
    }
    assert waiting == {"analysis": condition, "MAINPACS": condition}


def test_what_went_wrong_lately_is_told_by_event(house: House, run: Run) -> None:
    ledger = house.ledger()
    ledger.received(arrival(1))
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
    ledger.failed(film.id, "w", f"{CANARY}^REASON")
    ledger.refused("STRANGER", "DICOMNODE", "10.0.0.9", "calling AE title not recognised")
    ledger.close()
    said = sentences(told_by(run), "events")
    assert "instance.failed: 1 in 7 days" in said
    assert "1 calls were rejected" in said
    assert "STRANGER" not in said


def test_a_running_role_is_well_and_a_silent_one_a_fault(house: House, run: Run) -> None:
    ledger = house.ledger()
    ledger.beat(Worker("receive", "receive"), "working", "port=1")
    ledger.close()
    roles = {each["sentence"].split(":")[0]: each["condition"] for each in told_by(run)["roles"]}
    assert roles["receive"] == "well"
    assert roles["deliver"] == "fault"


def test_the_log_is_counted_by_event_and_nothing_else_of_it_is_told(
    house: House, run: Run, tmp_path: Path
) -> None:
    lines = [
        {"event": "role.error", "reason": CANARY, "timestamp": "2026-11-27T01:02:03Z"},
        {"event": "role.error", "timestamp": CANARY},
        {"event": "disk.low", "timestamp": "2026-11-27T01:02:03Z"},
        {"event": CANARY, "level": "error"},
        {"event": ["role.error"]},
        {"event": "echo.answered"},
    ]
    file = tmp_path / "log"
    text = "".join(f"Nov 27 node[1]: {json.dumps(line)}\n" for line in lines)
    file.write_text(f"{text}Traceback {CANARY} {{\n[]\n")
    areas = told_by(run, "--log", str(file), status=1)
    told = {each["facts"]["event"]: each["facts"]["number"] for each in areas["log"]}
    assert told == {"role.error": 2, "disk.low": 1}
    assert CANARY not in json.dumps(areas)


def test_a_peer_that_does_not_answer_is_a_fault_where_it_is_asked(house: House, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (house.config / "remotes" / "pacs.toml").write_text(
        f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
    )
    assert conditions(told_by(run), "peers") == {"well"}
    areas = told_by(run, "--echo", status=1)
    assert "no C-ECHO" in sentences(areas, "peers")


@pytest.mark.pacs("storescp")
def test_a_peer_that_answers_is_well(house: House, run: Run, tmp_path: Path) -> None:
    pacs = Storescp("PACS", free_port(), tmp_path / "pacs", debian("storescp"))
    (house.config / "remotes" / "pacs.toml").write_text(
        f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {pacs.port}\n'
    )
    pacs.start()
    try:
        assert "answers a C-ECHO" in sentences(told_by(run, "--echo", status=0), "peers")
    finally:
        pacs.stop()


def test_a_backup_is_remembered_and_an_old_one_is_a_warning(house: House, run: Run) -> None:
    assert conditions(told_by(run), "backups") == {"warning"}
    assert run("backup", str(house.place)).exit_code == 0
    assert conditions(told_by(run), "backups") == {"well"}
    assert "1 whole backups" in sentences(told_by(run, "--backups", str(house.place)), "backups")
    ledger = house.ledger()
    ledger._connection.run("update audit set at = '2020-01-01T00:00:00.000000+00:00'")
    ledger.close()
    assert conditions(told_by(run), "backups") == {"warning"}


def test_what_cannot_be_looked_at_is_a_fault_and_the_next_is_looked_at(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error", "disk")

    monkeypatch.setattr(os, "statvfs", broken)
    areas = told_by(run, status=1)
    assert "fault" in conditions(areas, "disk")
    assert "networks" in areas


def test_a_network_that_did_not_prove_itself_in_the_night_is_a_fault(
    house: House, run: Run
) -> None:
    ledger = house.ledger()
    ledger.found(AlarmKind.SELF_TEST, "covidnet-pyramid", "another answer than the stored one")
    ledger.close()
    said = sentences(told_by(run, status=1), "networks")
    assert "covidnet-pyramid did not prove itself" in said


def test_a_kernel_without_confinement_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "landlock_version", lambda: -1)
    (told,) = machine.confinement()
    assert (told.condition, "Landlock" in told.sentence) == ("warning", True)


def test_a_clock_that_was_never_set_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Stopped:
            return cls(1970, 1, 1, tzinfo=tz)

    monkeypatch.setattr(machine, "datetime", Stopped)
    (told,) = machine.clock(Settings())
    assert told.condition == "fault"


def canaries_everywhere(house: House) -> None:
    """Put names where a node has any: headers, file names, comments, users, reasons, callers."""
    film = phantom_dataset(seed=1, rows=64, columns=64)
    film.PatientName, film.PatientID = f"{CANARY}^NAME", f"{CANARY}-ID"
    film.PatientBirthDate, film.StudyDescription = "19010203", f"{CANARY} study"
    film.ImageComments, film.AccessionNumber = f"{CANARY} comment", f"{CANARY}1"
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    ledger = house.ledger()
    door = FrontDoor.of(Settings(), house.spool, ledger, Log("receive"))
    door.take_file(buffer.getvalue(), Origin("MOD1", "DICOMNODE", "10.0.0.7"))
    (study,) = ledger.studies()
    (instance,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 60, 1)
    ledger.failed(instance.id, "w", f"{CANARY} reason")
    ledger.keep_user(f"{CANARY}-user", "admin", f"{CANARY}-hash")
    ledger.open_session(f"{CANARY}-user", f"{CANARY}-token", f"{CANARY}-csrf")
    ledger.note(f"{CANARY}-user", "case.read", f"{CANARY} detail", study_id=study.id)
    ledger.refused(f"{CANARY}_AE", f"{CANARY}_CALLED", "10.0.0.9", f"{CANARY} cause", CANARY)
    ledger._connection.run(
        "insert into events (at, what, who, detail) values (:now, 'instance.failed', :c, :c)",
        now=ledger._connection.now(), c=CANARY,
    )  # fmt: skip
    ledger._connection.run(
        "insert into peers (ae_title, last_error, last_error_at) values ('MOD1', :c, :now)"
        " on conflict do update set last_error = :c",
        c=CANARY, now=ledger._connection.now(),
    )  # fmt: skip
    ledger.close()
    for folder in (house.data, house.data / "spool", house.data / "spool" / "incoming"):
        (folder / f"{CANARY}^NAME.dcm").write_bytes(CANARY.encode())
        os.utime(folder / f"{CANARY}^NAME.dcm", (0, 0))
    house.spool.path(Digest("ab" * 32)).with_name(f"{CANARY}.origin").write_text(CANARY)
    with (house.config / "remotes" / f"{CANARY.lower()}_jane.toml").open("w") as file:
        file.write(f'# {CANARY} comment\nae_title = "MOD1"\nhost = "10.0.0.7"\nport = 104\n')
    node = house.config / "node.toml"
    text = node.read_text() + f"\n# {CANARY}\n"
    text = text.replace("placeholder_names = []", f'placeholder_names = ["{CANARY}^*"]')
    text = text.replace('brain_address = ""', f'brain_address = "http://{CANARY}:pw@head:8000"')
    text = text.replace('webhook = ""', f'webhook = "https://chat.hospital.example/{CANARY}"')
    text = text.replace("mail_to = []", f'mail_to = ["{CANARY}@hospital.example"]')
    text = text.replace('mail_from = ""', f'mail_from = "{CANARY}@hospital.example"')
    text = text.replace('smtp_user = ""', f'smtp_user = "{CANARY}"')
    (house.config / "password").write_text(CANARY)
    (house.config / "password").chmod(0o600)
    text = text.replace('smtp_password = ""', 'smtp_password = "password"')
    text = text.replace('smtp_host = ""', 'smtp_host = "mail.hospital.example"')
    assert text.count(CANARY) == 7
    node.write_text(text)


def test_the_bundle_for_support_holds_nobody_s_name_and_no_secret(
    house: House, run: Run, tmp_path: Path
) -> None:
    canaries_everywhere(house)
    log, bundle = tmp_path / "log", tmp_path / "support.tar.gz"
    log.write_text(json.dumps({"event": "role.error", "reason": CANARY, "role": CANARY}))
    done = run("doctor", "--log", str(log), "--bundle", str(bundle))
    assert CANARY.lower() not in done.output.lower()
    assert "19010203" not in done.output
    assert bundle.stat().st_mode & 0o077 == 0
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
        texts = [archive.extractfile(name).read().decode() for name in names]  # type: ignore[union-attr]
    assert len(texts) == 4
    for text in (*names, *texts):
        assert CANARY.lower() not in text.lower()
        assert "19010203" not in text
    found = dict(zip(names, texts, strict=True))
    assert "instance.failed: 2" in found["dicom-node-doctor/doctor.json"]
    assert json.loads(found["dicom-node-doctor/settings.json"])["node"]["ae_title"] == "DICOMNODE"
    assert "MOD1" in found["dicom-node-doctor/ae_table.json"]
    assert "(left out)" in found["dicom-node-doctor/settings.json"]


def test_a_fault_is_told_with_its_file_on_the_screen_and_without_it_in_the_bundle(
    house: House, run: Run, tmp_path: Path
) -> None:
    (house.config / "remotes" / f"{CANARY}.toml").write_text("no TOML")
    bundle = tmp_path / "support.tar.gz"
    assert CANARY in run("doctor", "--bundle", str(bundle)).output
    with tarfile.open(bundle) as archive:
        told = archive.extractfile("dicom-node-doctor/doctor.json")
        assert told is not None
        text = told.read().decode()
    assert CANARY not in text
    assert "remotes/(a file)" in text


def test_a_bundle_replaces_no_file(house: House, tmp_path: Path) -> None:
    own = tmp_path / "own.tar.gz"
    own.write_text("mine")
    command = ["doctor", "--bundle", str(own), "--config", str(house.config)]
    done = CliRunner().invoke(app, [*command, "--data-dir", str(house.data)])
    assert isinstance(done.exception, FileExistsError)
    assert own.read_text() == "mine"


@pytest.mark.slow
def test_networks_prove_themselves_where_they_are_asked(house: House) -> None:
    (house.config / "node.toml").write_text(
        '[analysis]\nsuite = ["covidnet-lite"]\nlungs = ""\ngate = ""\n'
    )
    wanted = MoreChecks(self_test=True)
    found = examine(
        house.config, house.data, wanted,
        lambda site: open_ledger(site.ledger_path, who="test"), lambda *_: None,
    )  # fmt: skip
    (told,) = [each for each in found.checked if each.area == "networks"]
    assert (told.condition, "proved themselves" in told.sentence) == ("well", True)
