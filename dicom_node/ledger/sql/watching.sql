-- What the monitor tells: counts that never go down, queues, stages, deaths, ailments: `watching.py`.

-- name: any_uncounted_event
-- Whether something has happened that is not counted yet, or the numbers of events began anew.
select 1 from counted
where event_id <> coalesce((select max(id) from events), 0);

-- name: uncounted_events
-- What has happened since the last that was counted: of whom, and since when its stage lasted.
-- A delivery that a person held up, or asked for again, begins anew with that.
select events.id, what, at, detail,
    case what when 'instance.received' then (
        select calling_ae_title from origins
        where origins.instance_id = events.instance_id order by origins.id limit 1
    ) end as sender,
    case when delivery_id is not null then (
        select destination from deliveries where deliveries.id = events.delivery_id
    ) end as destination,
    case what
    when 'instance.admitted' then (
        select max(at) from events as earlier where earlier.instance_id = events.instance_id
        and earlier.what = 'instance.received' and earlier.id < events.id
    )
    when 'instance.analysed' then (
        select max(at) from events as earlier where earlier.instance_id = events.instance_id
        and earlier.what = 'instance.admitted' and earlier.id < events.id
    )
    when 'study.reported' then (
        select max(at) from events as earlier where earlier.study_id = events.study_id
        and earlier.what in ('instance.analysed', 'instance.declined', 'instance.failed')
        and earlier.id < events.id
    )
    when 'delivery.sent' then (
        select max(at) from events as earlier where earlier.study_id = events.study_id
        and (earlier.what = 'study.reported' or (earlier.delivery_id = events.delivery_id
            and earlier.what in ('delivery.waiting', 'delivery.released', 'delivery.hurried')))
        and earlier.id < events.id
    ) end as since,
    case what when 'delivery.sent' then (
        select max(case when reported.since is not null and earlier.id < reported.since then at end)
        from events as earlier, (
            select max(id) as since from events as reports
            where reports.study_id = events.study_id
            and reports.what = 'study.reported' and reports.id < events.id
        ) as reported
        where earlier.study_id = events.study_id and earlier.what = 'instance.received'
        and not exists (
            select 1 from events as asked where asked.study_id = events.study_id
            and asked.delivery_id = events.delivery_id
            and asked.id > reported.since and asked.id < events.id
            and asked.what in ('delivery.waiting', 'delivery.released')
        )
    ) end as whole_since
from events where events.id > (select event_id from counted)
order by events.id limit :most;

-- name: note_counted
-- Up to which event all are counted.
update counted set event_id = :id;

-- name: begin_counting_anew
-- The latest events went with their studies: their numbers come again.
update counted set event_id = coalesce((select max(id) from events), 0)
where event_id > coalesce((select max(id) from events), 0);

-- name: add_to_total
-- So many more.
insert into totals (what, subject, number) values (:what, :subject, :number)
on conflict do update set number = number + :number;

-- name: set_level
-- So many now.
insert into totals (what, subject, number) values (:what, :subject, :number)
on conflict do update set number = :number;

-- name: add_to_stage
-- One more took so long.
insert into stage_times (stage, at_most, number, seconds)
values (:stage, :at_most, :number, :seconds)
on conflict do update set number = number + :number, seconds = seconds + :seconds;

-- name: totals
-- What was counted so far.
select what, subject, number from totals;

-- name: stage_times
-- How long each stage took so far.
select stage, at_most, number, seconds from stage_times order by stage, at_most;

-- name: uncounted
-- How many events are not counted yet, up to so many.
select count(*) as number from (
    select 1 from events where id > (select event_id from counted) limit :most
);

-- name: rows_in_state
-- How many rows of a table are in a state, counted so far.
select coalesce(sum(number), 0) as number from tallies where thing = :thing and state = :state;

-- name: deliveries_by_destination
-- How many deliveries are in each state for each destination, counted so far.
select destination, state, number from tallies where thing = 'deliveries' and number > 0;

-- name: first_films
-- Since when the films wait that came first of those in a state: for each, its latest event.
select min(at) as since from (
    select (
        select max(at) from events where events.instance_id = film.id and what = :what
    ) as at
    from (
        select id from instances indexed by instances_by_state
        where state = :state order by id limit :most
    ) as film
);

-- name: first_study
-- Since when a study waits to be reported.
select min(changed_at) as since from studies where state = 'quiet';

-- name: first_deliveries
-- The delivery of each destination that waits longest, by when it would expire: since it was
-- written, or asked for again.
with recursive names (name) as (
    select min(destination) from deliveries indexed by deliveries_oldest
    where state = 'waiting' and held is null
    union all
    select (
        select min(destination) from deliveries indexed by deliveries_oldest
        where state = 'waiting' and held is null and destination > names.name
    )
    from names where names.name is not null
)
select name as destination, (
    select max(created_at, coalesce((
        select max(at) from events where events.study_id = oldest.study_id
        and events.delivery_id = oldest.id
        and what in ('delivery.waiting', 'delivery.released')
    ), ''))
    from deliveries as oldest indexed by deliveries_oldest
    where state = 'waiting' and held is null and destination = name
    order by expires_at limit 1
) as since,
(select last_error from peers where ae_title = name) is not null as failing
from names where name is not null;

-- name: parked_by_destination
-- How many deliveries nobody took, up to so many a destination: refused, or not taken in time, and
-- not given up by a person.
with recursive names (name) as (
    select min(destination) from deliveries indexed by deliveries_parked
    where state in ('refused', 'expired') and not_accepted = 0
    and substr(reason, 1, 11) <> 'dropped by '
    union all
    select (
        select min(destination) from deliveries indexed by deliveries_parked
        where state in ('refused', 'expired') and not_accepted = 0
        and substr(reason, 1, 11) <> 'dropped by ' and destination > names.name
    )
    from names where names.name is not null
)
select name as destination, (
    select count(*) from (
        select 1 from deliveries indexed by deliveries_parked
        where state in ('refused', 'expired') and not_accepted = 0
        and substr(reason, 1, 11) <> 'dropped by '
        and destination = name limit :most
    )
) as number
from names where name is not null;

-- name: quarantined_films
-- How many films stopped their worker twice, up to so many.
select count(*) as number from (
    select 1 from instances indexed by instances_quarantined
    where state = 'failed' and substr(reason, 1, 12) = 'quarantined:' limit :most
);

-- name: last_received
-- When any AE sent something last.
select max(last_received_at) as at from peers;

-- name: note_death
-- A process of a role has died.
insert into role_deaths (role, at) values (:role, :now);

-- name: forget_deaths
-- Deaths of long ago.
delete from role_deaths where at < :old;

-- name: deaths_since
-- How often each role died since.
select role, count(*) as number from role_deaths where at >= :since group by role;

-- name: note_ailment
-- Something is wrong; since when it is, stays.
insert into ailments (kind, subject, reason, at) values (:kind, :subject, :reason, :now)
on conflict do update set reason = :reason,
    at = case when (reason is null) = (:reason is null) then at else :now end;

-- name: ailments
-- What chores have found, wrong or right.
select kind, subject, reason, at from ailments order by kind, subject;

-- name: forget_ailments
-- Of what is looked at no more.
delete from ailments where kind = :kind and subject not in (select value from json_each(:known));
