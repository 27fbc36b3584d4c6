-- Schema of the ledger as its first release made it. Later changes are migrations (migrations.py).
-- Times are ISO 8601 text in UTC with microseconds, so that they sort as they are.
-- autoincrement: the id of a forgotten row never comes back, so that its events stay its own.
-- Indices "where …": the few rows that are at work, whatever the number of those that are done.

create table studies (
    id                  integer primary key autoincrement,
    study_instance_uid  text not null unique,
    state               text not null,
    revision            integer not null default 0,
    signature           text,
    reason              text,
    opened_at           text not null,
    changed_at          text not null,
    attempts            integer not null default 0,
    lease_owner         text,
    lease_until         text
) strict;
create index studies_by_state on studies (state, changed_at);
create index studies_by_change on studies (changed_at);
create index studies_leased on studies (lease_owner) where lease_owner is not null;

create table instances (
    id                   integer primary key autoincrement,
    study_id             integer not null references studies (id),
    sop_instance_uid     text not null,
    sop_class_uid        text not null,
    transfer_syntax_uid  text not null,
    series_instance_uid  text not null,
    digest               text not null,
    size_bytes           integer not null,
    state                text not null,
    reason               text,
    conflict             integer not null default 0,
    duplicate_count      integer not null default 0,
    attempts             integer not null default 0,
    lease_owner          text,
    lease_until          text,
    received_at          text not null,
    view                 text,
    findings_json        text,
    saliency_digest      text,
    unique (sop_instance_uid, digest)
) strict;
create index instances_by_state on instances (state, id);
create index instances_by_study on instances (study_id);
create index instances_by_digest on instances (digest);
create index instances_by_saliency on instances (saliency_digest)
    where saliency_digest is not null;
create index instances_leased on instances (lease_owner) where lease_owner is not null;

create table origins (
    id                integer primary key,
    instance_id       integer not null references instances (id) on delete cascade,
    study_id          integer not null references studies (id) on delete cascade,
    calling_ae_title  text not null,
    called_ae_title   text not null,
    peer_address      text not null,
    first_at          text not null,
    unique (instance_id, calling_ae_title)
) strict;
create index origins_by_study on origins (study_id);

create table results (
    id                   integer primary key,
    study_id             integer not null references studies (id),
    revision             integer not null,
    group_key            text not null,
    kind                 text not null,
    sop_instance_uid     text not null unique,
    sop_class_uid        text not null,
    series_instance_uid  text not null,
    digest               text not null,
    size_bytes           integer not null,
    written_at           text not null
) strict;
create index results_by_study on results (study_id);
create index results_by_group on results (group_key);
create index results_by_digest on results (digest);

create table deliveries (
    id                       integer primary key autoincrement,
    study_id                 integer not null references studies (id),
    group_key                text not null,
    kind                     text not null,
    destination              text not null,
    state                    text not null,
    attempts                 integer not null default 0,
    created_at               text not null,
    next_attempt_at          text not null,
    expires_at               text not null,
    status                   integer,
    reason                   text,
    pinned_sop_instance_uid  text,
    lease_owner              text,
    lease_until              text,
    unique (group_key, destination)
) strict;
create index deliveries_by_state on deliveries (state);
create index deliveries_due on deliveries (destination, next_attempt_at) where state = 'waiting';
create index deliveries_expiring on deliveries (expires_at) where state = 'waiting';
create index deliveries_leased on deliveries (lease_owner) where lease_owner is not null;
create index deliveries_by_study on deliveries (study_id);

create table events (
    id           integer primary key,
    at           text not null,
    what         text not null,
    who          text not null,
    instance_id  integer,
    study_id     integer,
    delivery_id  integer,
    detail       text
) strict;
create index events_by_study on events (study_id);
create index events_by_instance on events (instance_id);

create table refusals (
    calling_ae_title  text not null,
    called_ae_title   text not null,
    peer_address      text not null,
    reason            text not null,
    count             integer not null,
    last_at           text not null,
    primary key (calling_ae_title, called_ae_title, peer_address, reason)
) strict;

create table role_beats (
    role        text primary key,
    pid         integer not null,
    state       text not null,
    detail      text,
    started_at  text not null,
    beat_at     text not null
) strict;

create table peers (
    ae_title          text primary key,
    last_received_at  text,
    last_sent_at      text,
    last_error        text,
    last_error_at     text
) strict;
