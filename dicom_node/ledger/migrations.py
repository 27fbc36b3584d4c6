"""How a ledger of any release becomes one of this release: forward only, each step once.

A step is never changed after a release; a test opens the database of every release. A ledger with a
step that this program does not know was written by a newer one and is refused.
"""

from __future__ import annotations

import json
from importlib import resources

from sqlite_utils import Database, Migrations

from dicom_node.errors import SchemaTooNew
from dicom_node.findings import is_in_doubt
from dicom_node.ledger.told import told_by

migrations = Migrations("dicom_node")


@migrations()
def m001_first_schema(db: Database) -> None:
    """Create the tables of the first release."""
    _execute_file(db, "schema.sql")


@migrations()
def m002_negotiation_and_patients(db: Database) -> None:
    """Remember what each AE accepts, and which films are of the same patient (as a digest)."""
    db.execute("alter table peers add column accepted text")
    db.execute("alter table peers add column not_accepted text")
    db.execute("alter table deliveries add column not_accepted integer not null default 0")
    db.execute("alter table instances add column patient_key text")
    db.execute(
        "create index instances_by_patient on instances (patient_key) where patient_key is not null"
    )


@migrations()
def m003_reading_room(db: Database) -> None:
    """Add what the pages need: the case list, users, what readers said, held results."""
    _execute_file(db, "reading_room.sql")
    # Older studies: their list entry is filled by `undescribed`, from the stored films.
    db.execute(
        """insert into cases (study_id, received_at, state)
           select id, opened_at, state from studies"""
    )


@migrations()
def m004_clock(db: Database) -> None:
    """Remember how far the clock on the wall stood ahead of the machine's own: see `clock`."""
    db.execute(
        """create table clock (
               id     integer primary key check (id = 1),
               boot   text not null,
               ahead  real not null
           ) strict"""
    )


@migrations()
def m005_answers_in_doubt(db: Database) -> None:
    """Tell in the case list whose answers contradict each other, and what chance would give."""
    db.execute("alter table cases add column in_doubt integer not null default 0")
    db.execute("alter table cases add column chance real")
    db.execute("alter table cases add column peak_in_lungs integer")
    db.execute("create index cases_in_doubt on cases (received_at, study_id) where in_doubt")
    told = db.query("select study_id, findings_json from instances where findings_json is not null")
    doubted = {
        row["study_id"] for row in list(told) if is_in_doubt(json.loads(row["findings_json"]))
    }
    for study_id in doubted:
        db.execute("update cases set in_doubt = 1 where study_id = ?", (study_id,))


@migrations()
def m006_refusals_say_what_to_do(db: Database) -> None:
    """Keep what mends a refused call beside its cause."""
    db.execute("alter table refusals add column remedy text not null default ''")


@migrations()
def m007_patient_keys(db: Database) -> None:
    """Forget patient keys of the old rule, which joined people; `unkeyed` has them made anew."""
    db.execute("update instances set patient_key = null")
    db.execute(
        "create index instances_unkeyed on instances (id)"
        " where state = 'analysed' and patient_key is null"
    )


@migrations()
def m008_sign_ins_and_uploads(db: Database) -> None:
    """Count wrong passwords by name and address, and what each user uploads in a day."""
    db.execute("alter table users drop column failures")
    db.execute("alter table users drop column locked_until")
    db.execute(
        """create table sign_ins (
               name          text not null,
               address       text not null,
               failures      integer not null default 0,
               locked_until  text,
               tried_at      text not null,
               signed_in_at  text,
               primary key (name, address)
           ) strict"""
    )
    db.execute(
        """create table uploads (
               who    text not null,
               day    text not null,
               bytes  integer not null default 0,
               primary key (who, day)
           ) strict"""
    )


@migrations()
def m009_when_sent(db: Database) -> None:
    """Keep when a delivery was last taken by its destination, also of those sent before."""
    db.execute("alter table deliveries add column sent_at text")
    db.execute(
        """update deliveries set sent_at = (
               select max(at) from events where events.study_id = deliveries.study_id
               and events.delivery_id = deliveries.id and what = 'delivery.sent')"""
    )
    db.execute("create index deliveries_by_day on deliveries (coalesce(sent_at, created_at))")


@migrations()
def m010_opacity_and_appearance(db: Database) -> None:
    """Tell in the case list of opacity or not and of the COVID-19 appearance.

    No network of an earlier release told them: there is nothing to fill in.
    """
    db.execute("alter table cases add column opacity integer")
    db.execute("alter table cases add column opacity_probability real")
    db.execute("alter table cases add column appearance text")
    db.execute("alter table cases add column appearance_probability real")


@migrations()
def m011_many_workers(db: Database) -> None:
    """Know each worker of a role by its token, and what goes first.

    The signs of life of an earlier release are of processes that are gone.
    """
    db.execute("drop table role_beats")
    db.execute(
        """create table workers (
               role        text not null,
               number      integer not null,
               token       text not null unique,
               host        text not null,
               pid         integer not null,
               state       text not null,
               detail      text,
               started_at  text not null,
               beat_at     text not null,
               primary key (role, number)
           ) strict"""
    )
    for table in ("studies", "instances"):
        db.execute(f"alter table {table} add column priority integer not null default 0")
    db.execute(
        "create index instances_at_work on instances (state, priority desc, id)"
        " where state in ('received', 'admitted')"
    )


@migrations()
def m012_severity_of_a_film(db: Database) -> None:
    """Keep beside each film's findings what the case list compares studies by."""
    db.execute("alter table instances add column severity real")
    db.execute("alter table instances add column in_doubt integer not null default 0")
    told = db.query("select id, findings_json from instances where findings_json is not null")
    for row in list(told):
        beside = told_by(json.loads(row["findings_json"]))
        db.execute(
            "update instances set severity = ?, in_doubt = ? where id = ?",
            (beside["severity"], beside["in_doubt"], row["id"]),
        )


@migrations()
def m013_recipes(db: Database) -> None:
    """Keep by what a frozen report is made in another SOP class.

    Reports of earlier releases were frozen in each of them.
    """
    db.execute(
        """create table recipes (
               group_key  text primary key,
               study_id   integer not null references studies (id) on delete cascade,
               recipe     blob not null
           ) strict"""
    )
    db.execute("create index recipes_by_study on recipes (study_id)")


@migrations()
def m014_facts_of_headers(db: Database) -> None:
    """Keep what headers say, so that lists and courses open no files; the intake role fills it."""
    db.execute(
        """create table facts (
               digest    text primary key,
               study_id  integer not null references studies (id) on delete cascade,
               told      text
           ) strict"""
    )
    db.execute("create index facts_by_study on facts (study_id)")
    db.execute("create index facts_wanted on facts (digest) where told is null")
    for table in ("instances", "results"):
        db.execute(
            f"insert into facts (digest, study_id) select digest, min(study_id) from {table}"  # noqa: S608
            f" where digest not in (select digest from facts) group by digest"
        )
        db.execute(
            f"create trigger facts_of_{table} after insert on {table}"  # noqa: S608
            " when not exists (select 1 from facts where digest = new.digest)"
            " begin insert into facts (digest, study_id) values (new.digest, new.study_id); end"
        )


@migrations()
def m015_stored_bytes(db: Database) -> None:
    """Keep the sum of what the rows name, so that nobody has to look at every file to know it."""
    db.execute(
        """create table stored (
               id     integer primary key check (id = 1),
               bytes  integer not null
           ) strict"""
    )
    db.execute(
        """insert into stored select 1, (select coalesce(sum(size_bytes), 0) from instances)
               + (select coalesce(sum(size_bytes), 0) from results)"""
    )
    for table in ("instances", "results"):
        for what, sign, row in (("insert", "+", "new"), ("delete", "-", "old")):
            db.execute(
                f"create trigger bytes_of_{table}_{what} after {what} on {table}"  # noqa: S608
                f" begin update stored set bytes = bytes {sign} {row}.size_bytes; end"
            )


@migrations()
def m016_ranks(db: Database) -> None:
    """Make room between two priorities for the ranks of patients with earlier findings."""
    for table in ("instances", "studies"):
        db.execute(f"update {table} set priority = priority * 100 where priority <> 0")  # noqa: S608


@migrations()
def m017_tallies(db: Database) -> None:
    """Keep how many rows are in each state."""
    _execute_file(db, "tallies.sql")


@migrations()
def m018_claims_by_index(db: Database) -> None:
    """Let a claim look at what it takes alone, however much waits: see `working`, `reporting`."""
    db.execute("create index instances_suspect on instances (state, id) where attempts > 0")
    db.execute(
        "create index studies_at_rest on studies (attempts, priority desc, changed_at)"
        " where state = 'quiet'"
    )


@migrations()
def m019_observations(db: Database) -> None:
    """Tell in the case list what bundles say that declare it themselves, and what readers say.

    No bundle of an earlier release declared anything: there is nothing to fill in.
    """
    _execute_file(db, "observations.sql")


@migrations()
def m020_shadow_observations(db: Database) -> None:
    """Keep what networks say that run in shadow, apart from the findings; it goes with its film."""
    db.execute(
        """create table shadow_observations (
               instance_id        integer not null references instances (id) on delete cascade,
               network            text not null,
               observations_json  text not null,
               at                 text not null,
               primary key (instance_id, network)
           ) strict, without rowid"""
    )


@migrations()
def m021_figures(db: Database) -> None:
    """Keep the numbers of our own networks by name: one more is no column more."""
    _execute_file(db, "figures.sql")


@migrations()
def m022_watching(db: Database) -> None:
    """Count what happens, so that a monitor can tell it; keep what ails the node, and its alarms.

    What happened before is counted by nobody: counts begin with this release.
    """
    _execute_file(db, "watching.sql")


def _execute_file(db: Database, name: str) -> None:
    # Not executescript: that would commit the transaction which makes a step all or nothing.
    text = resources.files("dicom_node.ledger").joinpath(name).read_text("utf-8")
    for statement in text.split(";\n"):
        if statement.strip():
            db.execute(statement)


def is_current(db: Database, steps: Migrations = migrations) -> bool:
    """Return whether nothing is left to do. Only reads. Raises `SchemaTooNew`."""
    known = {migration.name for migration in steps._migrations}
    applied = {migration.name for migration in steps.applied(db)}
    if applied - known:
        raise SchemaTooNew(
            "The ledger was written by a newer dicom-node "
            f"(it has {', '.join(sorted(applied - known))})."
        )
    return applied == known


def migrate(db: Database, steps: Migrations = migrations) -> None:
    """Bring the ledger to this release's schema, in the caller's transaction.

    Raises `SchemaTooNew`.
    """
    # Asked again, now under the lock: another process may have been faster.
    if not is_current(db, steps):
        steps.apply(db)
