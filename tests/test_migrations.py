"""From the ledger of any release to the one of this release."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations
from sqlite_utils.utils import sqlite3 as fixed_sqlite  # type: ignore[attr-defined]

from dicom_node.errors import SchemaTooNew
from dicom_node.ledger import open_ledger
from dicom_node.ledger.migrations import is_current, migrate, migrations
from dicom_node.ledger.sqlite import SqliteLedger
from dicom_node.records import StudyId

SCHEMA = Path(__file__).parents[1] / "dicom_node" / "ledger" / "schema.sql"


def opened(path: Path) -> SqliteLedger:
    return open_ledger(path, who="test")


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def db() -> Iterator[Database]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield Database(connection)
    connection.close()


def schema_of(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("select sql from sqlite_master where name not like '%sqlite_%'")
    return {sql for (sql,) in rows}


def first_release(path: Path) -> sqlite3.Connection:
    """Make a ledger as the first release did, with a delivery that it refused."""
    old = raw(path)
    migrate(Database(old), _only_first())
    old.execute("insert into studies (id, study_instance_uid, state, opened_at, changed_at)"
                " values (1, '1.2', 'reported', '2026-01-01', '2026-01-01')")  # fmt: skip
    old.execute(
        "insert into deliveries (study_id, group_key, kind, destination, state, created_at,"
        " next_attempt_at, expires_at) values (1, 'sr:1', 'sr', 'PACS', 'refused',"
        " '2026-01-01', '2026-01-01', '2026-01-08')"
    )
    return old


def _only_first() -> Migrations:
    steps = Migrations("dicom_node")
    steps._migrations.append(migrations._migrations[0])
    return steps


def test_the_first_step_makes_the_schema_that_is_written_down(path: Path) -> None:
    plain = sqlite3.connect(":memory:")
    plain.executescript(SCHEMA.read_text("utf-8"))
    first = first_release(path)
    assert schema_of(first) == schema_of(plain)
    first.close()
    plain.close()


def test_a_ledger_of_the_first_release_becomes_one_of_this_release(
    path: Path, tmp_path: Path
) -> None:
    first_release(path).close()
    ledger = opened(path)
    (delivery,) = ledger.deliveries()
    assert (delivery.destination, delivery.state) == ("PACS", "refused")
    assert ledger.counts()["deliveries.refused"] == 1
    ledger.close()
    opened(tmp_path / "fresh.sqlite").close()
    migrated, fresh = raw(path), raw(tmp_path / "fresh.sqlite")
    assert schema_of(migrated) == schema_of(fresh)
    migrated.close()
    fresh.close()


def test_numbers_of_an_earlier_release_are_there_by_name(path: Path) -> None:
    first_release(path).close()
    old = fixed_sqlite.connect(path, isolation_level=None)
    steps = Migrations("dicom_node")
    steps._migrations.extend(each for each in migrations._migrations if each.name < "m021")
    migrate(Database(old), steps)
    old.execute(
        "insert or replace into cases (study_id, received_at, state, geographic_extent,"
        " opacity_extent, airspace_level) values (1, '2026-01-01', 'reported', 4.25, null, 2)"
    )
    old.execute(
        "insert into feedback (study_id, study_instance_uid, sop_instance_uid, reader, verdict,"
        " opacity_extent, at) values (1, '1.2', '1.2.3', 'doe', 'disagrees', 1.5, '2026-01-01')"
    )
    old.close()
    ledger = opened(path)
    case = ledger.case(StudyId(1))
    assert dict(case.figures) == {"geographic_extent": 4.25, "airspace_level": 2}
    assert [dict(word.numbers) for word in ledger.said(StudyId(1))] == [{"opacity_extent": 1.5}]
    ledger.close()


def test_opening_again_changes_nothing(path: Path) -> None:
    opened(path).close()
    before = path.read_bytes()
    opened(path).close()
    assert path.read_bytes() == before


def test_opening_a_current_ledger_needs_no_lock(path: Path) -> None:
    first = opened(path)
    holder = raw(path)
    holder.execute("begin immediate")
    open_ledger(path, who="reader", busy_seconds=0.1).close()
    holder.close()
    first.close()


def test_a_ledger_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    opened(path).close()
    newer = raw(path)
    newer.execute(
        "insert into _sqlite_migrations (migration_set, name, applied_at)"
        " values ('dicom_node', 'm999_of_the_future', '2030-01-01')"
    )
    with pytest.raises(SchemaTooNew, match="m999_of_the_future") as refused:
        opened(path)
    assert "newer version" in refused.value.remedy
    # The refusal holds no lock.
    newer.execute("begin immediate")
    newer.close()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(db: Database) -> None:
    steps = Migrations("dicom_node")

    @steps()
    def m001(db: Database) -> None:
        db.execute("create table films (id integer primary key) strict")

    migrate(db, steps)

    @steps()
    def m002(db: Database) -> None:
        db.execute("alter table films add column view text")

    @steps()
    def m003(db: Database) -> None:
        db.execute("create table other (id integer)")
        raise RuntimeError("interrupted")

    db.execute("begin immediate")
    with pytest.raises(RuntimeError):
        migrate(db, steps)
    db.execute("rollback")
    assert db.table_names() == ["_sqlite_migrations", "films"]
    assert [column.name for column in db["films"].columns] == ["id"]
    assert not is_current(db, steps)


def test_steps_are_applied_once_and_in_order(db: Database) -> None:
    done: list[str] = []
    steps = Migrations("dicom_node")
    steps(name="m001")(lambda db: done.append("m001"))
    migrate(db, steps)
    steps(name="m002")(lambda db: done.append("m002"))
    migrate(db, steps)
    migrate(db, steps)
    assert done == ["m001", "m002"]
    assert is_current(db, steps)


def test_the_steps_are_numbered_without_a_gap() -> None:
    numbers = [int(step.name[1:4]) for step in migrations._migrations]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_patient_key_of_the_old_rule_joins_nobody(path: Path) -> None:
    first_release(path).close()
    opened(path).close()
    old = raw(path)
    old.execute("delete from _sqlite_migrations where name = 'm007_patient_keys'")
    old.execute("drop index instances_unkeyed")
    old.execute(
        "insert into instances (study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid,"
        " series_instance_uid, digest, size_bytes, state, received_at, patient_key)"
        " values (1, '1.2.3', '1', '1', '1', 'd', 1, 'analysed', '2026-01-01', 'old')"
    )
    old.close()
    ledger = opened(path)
    (film,) = ledger.unkeyed(10)
    ledger.keyed([(film.id, "new")])
    assert ledger.unkeyed(10) == []
    ledger.close()
    now = raw(path)
    assert now.execute("select patient_key from instances").fetchall() == [("new",)]
    now.close()


def test_headers_of_an_earlier_release_are_asked_for_once_each(path: Path) -> None:
    old = first_release(path)
    old.execute(
        "insert into instances (study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid,"
        " series_instance_uid, digest, size_bytes, state, received_at)"
        " values (1, '1.2.3', '1', '1', '1', 'd-film', 10, 'analysed', '2026-01-01')"
    )
    old.execute(
        "insert into results (study_id, revision, group_key, kind, sop_instance_uid, sop_class_uid,"
        " series_instance_uid, digest, size_bytes, written_at)"
        " values (1, 1, 'sr:1', 'sr', '1.2.4', '1', '1', 'd-report', 7, '2026-01-01')"
    )
    old.close()
    ledger = opened(path)
    assert ledger.stored_bytes() == 10 + 7
    assert sorted(ledger.without_facts(10)) == ["d-film", "d-report"]
    ledger.keep_facts(dict.fromkeys(ledger.without_facts(10), "null"))
    assert ledger.without_facts(10) == []
    assert ledger.recipe("sr:1") is None
    ledger.close()


def test_priorities_of_an_earlier_release_stay_in_their_order(path: Path) -> None:
    first_release(path).close()
    opened(path).close()
    old = raw(path)
    old.execute("delete from _sqlite_migrations where name = 'm016_ranks'")
    old.execute("update studies set priority = 10")
    old.close()
    opened(path).close()
    now = raw(path)
    assert now.execute("select priority from studies").fetchall() == [(1000,)]
    now.close()


def test_what_happened_before_there_were_counts_is_counted_by_nobody(path: Path) -> None:
    old = first_release(path)
    old.execute(
        "insert into events (at, what, who, study_id)"
        " values ('2026-01-01', 'study.reported', 'report', 1)"
    )
    old.close()
    ledger = opened(path)
    assert ledger.uncounted() == 0
    assert ledger.count_events(()) == 0
    assert ledger.totals() == {}
    assert ledger.alarms_up() == []
    ledger.close()
