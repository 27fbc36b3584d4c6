-- What a node tells of itself over months: counts that never go down, how long each stage took, what
-- ails it, and what a person was told of that.

-- Counted from events and from what roles say; the row of a thing is made when it first happens.
create table totals (
    what     text not null,
    subject  text not null default '',
    number   integer not null,
    primary key (what, subject)
) strict, without rowid;

-- How many films, studies or results took at most so many seconds for a stage, and longer than the
-- row before; the last row has 1e308. Seconds: of those together.
create table stage_times (
    stage    text not null,
    at_most  real not null,
    number   integer not null,
    seconds  real not null,
    primary key (stage, at_most)
) strict, without rowid;

-- The last event that was counted. What happened before this release is counted by nobody.
create table counted (
    id        integer primary key check (id = 1),
    event_id  integer not null
) strict;
insert into counted select 1, coalesce((select max(id) from events), 0);

create table role_deaths (
    id    integer primary key,
    role  text not null,
    at    text not null
) strict;
create index role_deaths_by_time on role_deaths (at);

-- What a chore has found to be wrong, until it finds it to be right.
create table ailments (
    kind     text not null,
    subject  text not null,
    reason   text,
    at       text not null,
    primary key (kind, subject)
) strict, without rowid;

create table alarms (
    id          integer primary key autoincrement,
    kind        text not null,
    subject     text not null,
    facts_json  text not null,
    risen_at    text not null,
    ended_at    text
) strict;
create unique index alarms_up on alarms (kind, subject) where ended_at is null;

create table alarm_notices (
    id               integer primary key autoincrement,
    alarm_id         integer not null references alarms (id) on delete cascade,
    what             text not null,
    channel          text not null,
    attempts         integer not null default 0,
    next_attempt_at  text not null
) strict;
create index alarm_notices_by_alarm on alarm_notices (alarm_id);

create index instances_quarantined on instances (id)
    where state = 'failed' and substr(reason, 1, 12) = 'quarantined:';
create index deliveries_parked on deliveries (destination)
    where state in ('refused', 'expired') and not_accepted = 0
    and substr(reason, 1, 11) <> 'dropped by ';
create index deliveries_oldest on deliveries (destination, expires_at)
    where state = 'waiting' and held is null;
