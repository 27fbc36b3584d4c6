-- What a support engineer asks: `symptoms.py`.

-- name: oldest_film
-- Since when the film waits that has waited longest.
select min(received_at) as at from instances where state in ('received', 'admitted');

-- name: waiting_study
-- Since when the study waits for its results that has waited longest.
select min(changed_at) as at from studies where state = 'quiet';

-- name: waiting_deliveries
-- Since when results wait to be sent, by destination, and how many.
select destination, min(created_at) as at, count(*) as number from deliveries
where state = 'waiting' and held is null group by destination order by destination;

-- name: lately
-- What happened how often since then, of so many latest events, and when it did last.
select what, count(*) as number, max(at) as at from (
    select what, at from events order by id desc limit :most
)
where at >= :since group by what order by what;

-- name: last_noted
-- When a line of the audit trail was last written, of so many latest.
select max(at) as at from (select what, at from audit order by id desc limit :most)
where what = :what;

-- name: people_by_role
-- How many may sign in, never who.
select role, count(*) as number from users group by role order by role;

-- name: kinds_of_refusals
-- How many calls were rejected, and when last, never whose.
select coalesce(sum(count), 0) as number, max(last_at) as at from refusals;
