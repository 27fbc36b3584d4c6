-- What the pages in the browser need beside the ledger of the first release.
-- cases: one row a study, kept up to date in the transaction of every change, so that a list of
-- millions is one index. case_words: its words for searching (SQLite FTS5), contents elsewhere.

alter table deliveries add column held text;

create table cases (
    study_id            integer primary key references studies (id),
    described           integer not null default 0,
    patient_name        text not null default '',
    patient_id          text not null default '',
    patient_birth_date  text not null default '',
    patient_sex         text not null default '',
    accession_number    text not null default '',
    study_date          text not null default '',
    study_description   text not null default '',
    received_at         text not null,
    state               text not null,
    films               integer not null default 0,
    outcome             text not null default 'waiting',
    reason              text,
    view                text,
    sender              text not null default '',
    finding             text,
    probability         real,
    abstained           integer not null default 0,
    geographic_extent   real,
    opacity_extent      real,
    airspace_level      integer,
    in_lungs            real,
    change_when_hidden  real,
    severity            real not null default -1,
    delivery            text not null default 'none',
    reading             text not null default '',
    earlier_reader      text not null default ''
) strict;
create index cases_by_time on cases (received_at, study_id);
create index cases_by_severity on cases (severity, study_id);
create index cases_by_finding on cases (finding, received_at, study_id);
create index cases_by_outcome on cases (outcome, received_at, study_id);
create index cases_by_delivery on cases (delivery, received_at, study_id);
create index cases_by_patient on cases (patient_id);
create index cases_by_accession on cases (accession_number);
create index cases_by_date on cases (study_date, study_id);
create index cases_undescribed on cases (study_id) where not described;

create virtual table case_words using fts5 (words, content='', contentless_delete=1);

create table users (
    name           text primary key,
    role           text not null,
    password_hash  text not null,
    created_at     text not null,
    failures       integer not null default 0,
    locked_until   text
) strict;

create table sessions (
    token_hash  text primary key,
    user        text not null references users (name) on delete cascade,
    csrf        text not null,
    created_at  text not null,
    seen_at     text not null
) strict;
create index sessions_by_user on sessions (user);

create table audit (
    id        integer primary key,
    at        text not null,
    who       text not null,
    what      text not null,
    study_id  integer,
    detail    text
) strict;
create index audit_by_study on audit (study_id) where study_id is not null;

-- revision: of the report that the reader had before him; a newer one has been read by nobody.
create table readings (
    study_id  integer primary key references studies (id),
    revision  integer not null,
    state     text not null,
    comment   text not null default '',
    reader    text not null,
    at        text not null
) strict;

-- Outlives its study: what readers say of the networks is counted over years.
create table feedback (
    id                 integer primary key,
    study_id           integer not null,
    study_instance_uid text not null,
    sop_instance_uid   text not null,
    answer_json        text,
    reader             text not null,
    verdict            text not null,
    finding            text,
    geographic_extent  real,
    opacity_extent     real,
    airspace_level     integer,
    comment            text not null default '',
    at                 text not null,
    unique (sop_instance_uid, reader)
) strict;
create index feedback_by_study on feedback (study_id);
