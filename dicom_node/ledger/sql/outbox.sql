-- Deliveries on their way to the destinations: `delivering.py`.
-- "indexed by": without it SQLite prefers the index by state and walks through all that waits.

-- name: waiting_destinations
-- To whom anything waits: one look-up a destination, however much waits for a dead PACS.
with recursive names (name) as (
    select min(destination) from deliveries indexed by deliveries_due
    where state = 'waiting'
    union all
    select (
        select min(destination) from deliveries indexed by deliveries_due
        where state = 'waiting' and destination > names.name
    )
    from names where names.name is not null
)
select name from names where name is not null;

-- name: first_due
-- What is due first of all that waits for a destination and that nobody holds.
select id, study_id, destination, next_attempt_at from deliveries indexed by deliveries_due
where state = 'waiting' and destination = :destination and next_attempt_at <= :now
and (lease_until is null or lease_until <= :now)
order by next_attempt_at, id limit 1;

-- name: claim_deliveries
-- Take what is due of one study and destination, the oldest first.
update deliveries set lease_owner = :worker, lease_until = :until, attempts = attempts + 1
where id in (
    select id from deliveries indexed by deliveries_by_study
    where study_id = :study and state = 'waiting' and destination = :destination
    and next_attempt_at <= :now and (lease_until is null or lease_until <= :now)
    order by id limit :limit
)
returning id;

-- name: claimed_deliveries
-- The deliveries that were just claimed, the oldest first.
select deliveries.*, studies.study_instance_uid from deliveries
join studies on studies.id = deliveries.study_id
where deliveries.id in (select value from json_each(:ids))
order by deliveries.id;

-- name: alternatives
-- The objects of a group: one of them is sent.
select * from results where group_key = :group order by id;

-- name: pin
-- Which alternative is being sent, before its first byte leaves.
update deliveries set pinned_sop_instance_uid = :uid where id = :id and lease_owner = :worker;

-- name: return_delivery
-- Give back what a worker holds as if it had not been claimed.
update deliveries set lease_owner = null, lease_until = null, attempts = max(attempts - 1, 0)
where id = :id and lease_owner = :worker;

-- name: note_sent
-- A destination has taken something: its last error is over.
insert into peers (ae_title, last_sent_at) values (:ae, :now)
on conflict do update set last_sent_at = :now, last_error = null, last_error_at = null;

-- name: note_error
-- Why a destination did not take something.
insert into peers (ae_title, last_error, last_error_at) values (:ae, :reason, :now)
on conflict do update set last_error = :reason, last_error_at = :now;

-- name: postpone
-- Try again later.
update deliveries set next_attempt_at = :next, reason = :reason,
    status = :status, lease_owner = null, lease_until = null
where id = :id;

-- name: note_not_accepted
-- The destination does not take such objects: no error.
update deliveries set not_accepted = 1 where id = :id;

-- name: ask_whether_accepted
-- Nothing is known any more of whether the destination takes such objects.
update deliveries set not_accepted = 0 where id = :id;

-- name: negotiated
-- Which SOP classes of results an AE accepted when last asked.
select accepted, not_accepted from peers where ae_title = :ae;

-- name: note_negotiated
-- Which SOP classes of results an AE accepts.
insert into peers (ae_title, accepted, not_accepted)
values (:ae, :accepted, :not_accepted)
on conflict do update set accepted = :accepted, not_accepted = :not_accepted;

-- name: overdue_deliveries
-- What was not delivered in time.
select * from deliveries indexed by deliveries_expiring
where state = 'waiting' and expires_at <= :now and (lease_until is null or lease_until <= :now)
order by expires_at limit :limit;

-- name: hurry
-- Make a waiting delivery due at once; held for approval, it is thereby approved.
update deliveries set next_attempt_at = :now, expires_at = :expires, held = null where id = :id;

-- name: approve
-- Make due what waits for a person's approval; what is kept in shadow stays.
update deliveries set next_attempt_at = :now, expires_at = :expires, held = null
where study_id = :study and state = 'waiting' and held is not null and held <> :shadow
returning *;

-- name: delivery
-- A delivery with its study's Study Instance UID.
select deliveries.*, studies.study_instance_uid from deliveries
join studies on studies.id = deliveries.study_id
where deliveries.id = :id;
