"""A backup is whole or is none; a restored ledger learns what it does not know."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli.main import app
from dicom_node.errors import (
    BackupDamaged,
    BackupMissing,
    BackupUnderWay,
    DiskFull,
    LedgerMissing,
    LedgerUnavailable,
    NodeAlreadyRunning,
    SchemaTooNew,
    SettingsError,
)
from dicom_node.ledger import open_ledger
from dicom_node.ledger.copying import copy_ledger, what_it_knows
from dicom_node.line.alone import alone, refuse_empty_start
from dicom_node.line.backup import make_backup
from dicom_node.line.backup_files import (
    UNFINISHED,
    digest_of_file,
    read_manifest,
    whole_backups,
)
from dicom_node.records import ROLES, Digest, InstanceState
from dicom_node.resources import default_configuration
from dicom_node.roles.supervisor import Supervisor
from dicom_node.sidecar import SUFFIX
from dicom_node.spool import Spool
from tests.backup_kit import House, a_house, restored, untold
from tests.commands_kit import Run, a_site, runner
from tests.ledger_kit import arrival, fresh_ledger

__all__ = ["a_house", "a_site", "runner"]


def test_what_came_after_the_backup_is_taken_in_as_from_its_sender(house: House, run: Run) -> None:
    house.receives(1)
    house.backs_up()
    later = house.receives(2, "MOD2", "MOD3")
    told = restored(run, str(house.place))
    assert (told["adopted"], told["missing"], told["left"]) == (1, [], 0)
    assert house.known()[later] == ("MOD2", "MOD3")


def test_a_known_film_that_came_from_somebody_more_since_is_owed_to_them_too(
    house: House, run: Run
) -> None:
    film = house.receives(1, "MOD1")
    house.backs_up()
    house.receives(1, "MOD2")
    told = restored(run, str(house.place))
    assert (told["adopted"], told["senders"]) == (0, 1)
    assert house.known() == {film: ("MOD1", "MOD2")}


def test_the_ledger_before_is_kept_aside(house: House, run: Run) -> None:
    house.backs_up()
    later = house.receives(2)
    aside = Path(restored(run, str(house.place))["aside"])
    kept = open_ledger(aside / "ledger.sqlite", who="test")
    assert [film.digest for film in kept.films_of_shard(later[:2])] == [later]
    kept.close()
    assert aside.parent == house.data


def test_films_that_are_not_stored_are_told_and_brought_back_where_the_backup_has_them(
    house: House, run: Run
) -> None:
    gone, kept = house.receives(1), house.receives(2)
    house.backs_up()
    house.spool.remove(gone)
    told = restored(run, str(house.place))
    assert [film["digest"] for film in told["missing"]] == [gone]
    house.receives(1, "MOD9")
    house.backs_up(spool=True)
    for digest in (gone, kept):
        house.spool.remove(digest)
    told = restored(run, str(house.place))
    assert (told["brought_back"], told["missing"]) == (2, [])
    assert house.spool.read(gone) == film_bytes_stored(house, gone)
    assert {each.origin.calling_ae_title for each in house.spool.comings(gone)} == {"MOD9"}


def film_bytes_stored(house: House, digest: Digest) -> bytes:
    return Spool(house.place / "spool").read(digest)


def test_a_restored_ledger_has_nobody_signed_in_and_no_work_in_hand(house: House, run: Run) -> None:
    house.receives(1)
    ledger = house.ledger()
    ledger.keep_user("admin", "admin", "hash")
    ledger.open_session("admin", "token", "csrf")
    (film,) = ledger.claim_instances(InstanceState.RECEIVED, "w", 600, 1)
    ledger.close()
    house.backs_up()
    restored(run, str(house.place))
    ledger = house.ledger()
    assert ledger._connection.all("select * from sessions") == []
    (again,) = ledger.claim_instances(InstanceState.RECEIVED, "other", 60, 1)
    assert (again.id, again.attempts) == (film.id, film.attempts)
    ledger.close()


def test_without_a_backup_the_stored_films_make_a_new_ledger(house: House, run: Run) -> None:
    films = {house.receives(1, "MOD1"): ("MOD1",), house.receives(2, "MOD2"): ("MOD2",)}
    (house.data / "ledger.sqlite").write_bytes(b"damaged" * 1000)
    told = restored(run, "--from-spool")
    assert told["adopted"] == 2
    assert house.known() == films
    assert (Path(told["aside"]) / "ledger.sqlite").read_bytes().startswith(b"damaged")


def test_films_without_a_ledger_are_never_the_begin_of_a_new_one(house: House, run: Run) -> None:
    house.receives(1)
    for path in house.data.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerMissing) as told:
        Supervisor(house.site).run(threading.Event())
    assert "restore" in told.value.remedy
    assert isinstance(run("user", "add", "a", "--new").exception, LedgerMissing)
    assert not (house.data / "ledger.sqlite").exists()


def test_an_empty_folder_is_the_begin_of_a_node(house: House) -> None:
    shutil.rmtree(house.data)
    refuse_empty_start(house.site)
    Spool(house.data / "spool")
    refuse_empty_start(house.site)


def test_a_copy_is_one_moment_of_a_ledger_that_others_write_to(tmp_path: Path) -> None:
    path, stop = tmp_path / "ledger.sqlite", threading.Event()
    ledger = fresh_ledger(path, who="test")
    for number in range(200):
        ledger.received(arrival(number))
    halfway: list[int] = []

    def told(done: int, of: int) -> None:
        halfway.append(done)
        # Whatever is written between two steps is not in the copy, and begins it not anew.
        ledger.received(arrival(1000 + len(halfway)))
        assert len(halfway) <= of

    copy_ledger(path, tmp_path / "copy", told)
    stop.set()
    ledger.close()
    assert what_it_knows(tmp_path / "copy").instances == 200
    assert what_it_knows(path).instances == 200 + len(halfway)
    assert sorted(each.name for each in tmp_path.glob("copy*")) == ["copy"]


def test_a_damaged_ledger_makes_no_backup(house: House) -> None:
    ledger = house.ledger()
    for number in range(300):
        ledger.received(arrival(number))
    ledger.close()
    path = house.data / "ledger.sqlite"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(4096))
    with pytest.raises(LedgerUnavailable):
        house.backs_up()
    assert whole_backups(house.place) == []
    assert list(house.place.glob(f"*{UNFINISHED}")) == []


def test_a_half_backup_is_not_taken_for_one_and_goes_with_the_next(house: House, run: Run) -> None:
    half = shutil.copytree(house.backs_up(), house.place / f"2030-01-01T000000Z{UNFINISHED}")
    assert [path.name for path in whole_backups(house.place)] == [
        json.loads(run("restore", str(house.place), "--list", "--json").stdout)[0]["name"]
    ]
    house.backs_up()
    assert not half.exists()


def test_a_backup_that_fails_on_the_way_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.receives(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "backup")

    monkeypatch.setattr("dicom_node.line.backup.write_manifest", full)
    with pytest.raises(DiskFull):
        house.backs_up(spool=True)
    assert sorted(path.name for path in house.place.iterdir()) == ["backup.lock", "spool"]


@pytest.mark.parametrize("name", ["ledger.sqlite", "configuration/node.toml", "spool.txt"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_backup_that_is_not_what_it_was_is_refused(
    house: House, run: Run, name: str, how: str
) -> None:
    file = house.backs_up(spool=True) / name
    later = house.receives(2)
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"\n")
    done = run("restore", str(house.place), "--yes")
    assert isinstance(done.exception, BackupDamaged)
    assert later in house.known()


def test_a_damaged_stored_file_of_a_backup_is_not_brought_back(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spool, "adopt", lambda *_: False)  # as on another disk
    film = house.receives(1)
    house.backs_up(spool=True)
    house.spool.remove(film)
    Spool(house.place / "spool").path(film).write_bytes(b"rotten")
    told = restored(run, str(house.place))
    assert (told["brought_back"], [each["digest"] for each in told["missing"]]) == (0, [film])


def test_a_running_node_is_not_restored_under_its_feet(house: House, run: Run) -> None:
    house.backs_up()
    with alone(house.data, ROLES):
        done = run("restore", str(house.place), "--yes")
    assert isinstance(done.exception, NodeAlreadyRunning)


def test_a_backup_of_a_later_release_is_refused_and_nothing_is_changed(
    house: House, run: Run
) -> None:
    film = house.receives(1)
    backup = house.backs_up()
    copy = sqlite3.connect(backup / "ledger.sqlite")
    copy.execute(
        "insert into _sqlite_migrations (migration_set, name, applied_at)"
        " values ('dicom_node', 'm999_later', '')"
    )
    copy.commit()
    copy.close()
    mended = json.loads((backup / "backup.json").read_text())
    mended["files"]["ledger.sqlite"] = json.loads(
        digest_of_file(backup / "ledger.sqlite").model_dump_json()
    )
    (backup / "backup.json").write_text(json.dumps(mended))
    done = run("restore", str(house.place), "--yes")
    assert isinstance(done.exception, SchemaTooNew)
    assert film in house.known()
    assert list(house.data.glob("*restoring*")) == list(house.data.glob("aside-*")) == []


def test_a_restore_that_is_killed_halfway_leaves_no_empty_ledger_and_can_be_done_again(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.receives(1)
    house.backs_up()
    later = house.receives(2)
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name.endswith(".restoring"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    run("restore", str(house.place), "--yes")
    monkeypatch.undo()
    with pytest.raises(LedgerMissing):
        refuse_empty_start(house.site)
    assert restored(run, str(house.place))["adopted"] == 1
    assert later in house.known()


def test_whoever_says_no_changes_nothing(house: House, run: Run) -> None:
    house.backs_up()
    later = house.receives(1)
    done = run("restore", str(house.place))  # nobody answers
    assert done.exit_code == 1
    assert later in house.known()


@pytest.mark.parametrize("arguments", [(), ("DIR", "--from-spool"), ("--from-spool", "--list")])
def test_what_is_meant_has_to_be_said(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("restore", *arguments).exit_code == 2


def test_a_folder_without_a_backup_is_told(house: House, run: Run, tmp_path: Path) -> None:
    for more in ((), ("--list",), ("--at", "2020-01-01T000000Z")):
        done = run("restore", str(tmp_path / "nothing"), *more)
        assert isinstance(done.exception, BackupMissing)


def test_a_backup_has_the_configuration_and_not_the_data(house: House, run: Run) -> None:
    (house.config / "remotes" / "pacs.toml").write_text(
        'ae_title = "PACS"\nhost = "10.0.0.5"\nport = 104\n'
    )
    (house.config / "key.pem").write_text("secret")
    backup = house.backs_up()
    files = set(read_manifest(backup).files)
    assert {"configuration/node.toml", "configuration/remotes/pacs.toml", "ledger.sqlite"} <= files
    assert "configuration/key.pem" in files
    assert not [name for name in files if "data/" in name]
    for path in [backup, *backup.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0


def test_the_configuration_comes_back_where_it_is_asked_for_and_the_one_before_is_kept(
    house: House, run: Run
) -> None:
    house.data = house.folder / "elsewhere"
    fresh_ledger(house.data / "ledger.sqlite", who="test").close()
    remote = house.config / "remotes" / "pacs.toml"
    remote.write_text('ae_title = "PACS"\nhost = "10.0.0.5"\nport = 104\n')
    house.backs_up()
    remote.write_text('ae_title = "OTHER"\nhost = "10.0.0.5"\nport = 104\n')
    told = restored(run, str(house.place))
    assert "OTHER" in remote.read_text()
    told = restored(run, str(house.place), "--configuration")
    assert "PACS" in remote.read_text()
    aside = Path(told["configuration_aside"])
    assert "OTHER" in (aside / "remotes" / "pacs.toml").read_text()


def test_the_shipped_defaults_are_never_replaced(house: House) -> None:
    house.backs_up()
    command = ["restore", str(house.place), "--configuration", "--yes"]
    command += ["--config", str(default_configuration()), "--data-dir", str(house.data)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, SettingsError)


def test_the_site_s_own_templates_come_back_where_they_are_gone(
    house: House, tmp_path: Path, run: Run
) -> None:
    own = tmp_path / "own-templates"
    shutil.copytree(house.site.templates_path, own)
    text = (house.config / "node.toml").read_text()
    text = text.replace('templates_dir = ""', f'templates_dir = "{own}"')
    assert str(own) in text
    (house.config / "node.toml").write_text(text)
    backup = house.backs_up()
    assert any(name.startswith("templates/") for name in read_manifest(backup).files)
    shutil.rmtree(own)
    own.mkdir()
    restored(run, str(house.place))
    assert list(own.glob("*.toml"))


def test_stored_files_are_carried_once_for_all_backups_and_go_with_the_last_that_names_them(
    house: House,
) -> None:
    first = house.receives(1)
    made = make_backup(house.site, house.place, untold, spool=True)
    assert (made.carried.new, made.carried.known) == (1, 0)
    second = house.receives(2)
    made = make_backup(house.site, house.place, untold, spool=True)
    assert (made.carried.new, made.carried.known, made.manifest.stored) == (1, 1, 2)
    pool = Spool(house.place / "spool")
    assert pool.read(first)
    assert pool.path(first).with_suffix(SUFFIX).exists()
    ledger = house.ledger()
    ledger._connection.run("delete from events")
    ledger._connection.run("delete from origins")
    ledger._connection.run("delete from instances where digest = :d", d=first)
    ledger.close()
    made = make_backup(house.site, house.place, untold, spool=True, keep=1)
    assert len(made.removed) == 2
    assert whole_backups(house.place) == [made.folder]
    assert not pool.path(first).exists()
    assert not pool.path(first).with_suffix(SUFFIX).exists()
    assert pool.read(second)


def test_on_another_disk_stored_files_are_copied_and_compared(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = house.receives(1), house.receives(2)
    house.spool.path(bad).write_bytes(b"rotten")
    monkeypatch.setattr(Spool, "adopt", lambda *_: False)
    made = make_backup(house.site, house.place, untold, spool=True)
    assert (made.carried.new, made.carried.damaged, made.manifest.stored) == (1, [bad], 1)
    pool = Spool(house.place / "spool")
    assert pool.read(good) == house.spool.read(good)
    assert not pool.path(bad).exists()
    assert list((house.place / "spool" / "incoming").iterdir()) == []


def test_a_full_disk_makes_no_backup_and_is_named(
    house: House, small_disk: Callable[[str], Path]
) -> None:
    house.place = small_disk("400k")
    ledger = house.ledger()
    for number in range(400):
        ledger.received(arrival(number))
    ledger.close()
    with pytest.raises(DiskFull) as told:
        house.backs_up()
    assert str(house.place) in told.value.message
    assert whole_backups(house.place) == list(house.place.glob("20*")) == []


def test_a_full_disk_is_no_reason_to_lose_the_ledger_that_there_is(
    house: House, run: Run, small_disk: Callable[[str], Path]
) -> None:
    ledger = house.ledger()
    for number in range(400):
        ledger.received(arrival(number))
    ledger.close()
    house.backs_up()
    disk = small_disk("900k")
    own = House(house.folder)
    own.data = disk
    fresh_ledger(disk / "ledger.sqlite", who="test").close()
    film = own.receives(1)
    command = ["restore", str(house.place), "--yes", "--config", str(house.config)]
    (disk / "ballast").write_bytes(bytes(200_000))
    done = CliRunner().invoke(app, [*command, "--data-dir", str(disk)])
    assert isinstance(done.exception, DiskFull), done.output
    assert film in own.known()
    assert list(disk.glob("*restoring*")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_is_restored_belongs_to_the_node_s_user(house: House, run: Run) -> None:
    house.backs_up()
    os.chown(house.data, 12345, 12345)
    done = run("restore", str(house.place), "--yes")
    assert isinstance(done.exception, SettingsError)
    assert "sudo -u" in done.exception.remedy


def test_two_backups_at_once_into_one_folder_are_one(house: House) -> None:
    def meanwhile(what: str, _done: int, _of: int) -> None:
        if what == "copying the ledger":
            with pytest.raises(BackupUnderWay):
                make_backup(house.site, house.place, untold)

    make_backup(house.site, house.place, meanwhile)
    assert len(whole_backups(house.place)) == 1


def test_the_commands_say_what_they_did_and_the_trail_keeps_it(house: House, run: Run) -> None:
    house.receives(1)
    done = run("backup", str(house.place), "--spool", "--keep", "3")
    assert done.exit_code == 0, done.output
    assert "1 studies, 1 films" in done.stdout
    assert "1 stored files, 1 of them new" in done.stdout
    done = run("restore", str(house.place), "--list")
    assert "1 studies, 1 films, 1 stored files" in done.stdout
    done = run("restore", str(house.place), "--yes")
    assert "0 films that the ledger did not know were taken in" in done.stdout
    ledger = house.ledger()
    # The backup was noted after the copy was made: the restored trail begins before it.
    assert {line.what for line in ledger.audit()} == {"ledger.restored"}
    ledger.close()


def test_other_networks_than_then_are_told(house: House, run: Run) -> None:
    house.backs_up()
    text = (house.config / "node.toml").read_text()
    (house.config / "node.toml").write_text(text.replace('"opacity-zones",', ""))
    assert any("opacity-zones" in each for each in restored(run, str(house.place))["networks"])


def test_a_manifest_that_names_a_file_outside_is_refused(house: House, run: Run) -> None:
    backup = house.backs_up()
    told = json.loads((backup / "backup.json").read_text())
    told["files"]["../../etc"] = told["files"]["ledger.sqlite"]
    (backup / "backup.json").write_text(json.dumps(told))
    assert isinstance(run("restore", str(house.place), "--yes").exception, BackupDamaged)


def test_the_time_of_a_backup_is_in_its_name_and_is_utc(house: House) -> None:
    backup = house.backs_up()
    named = datetime.strptime(backup.name, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((named - read_manifest(backup).taken_at).total_seconds()) < 1
