-- An end for everything that only grows: `ageing.py`.
-- Each is looked for first: most days there is nothing, and no lock is taken to learn that.

-- name: digests_of_shard
-- Stored files that some row names, of those that begin alike.
select digest from instances where digest >= :first and digest < :last
union select digest from results where digest >= :first and digest < :last
union select saliency_digest from instances
where saliency_digest >= :first and saliency_digest < :last;

-- name: stored_bytes
-- The sizes of all films and results together, a sum kept so far.
select bytes from stored;

-- name: any_silent_refusals
-- Whether a refused caller has not called for so long.
select 1 from refusals where last_at < :old limit 1;

-- name: forget_silent_refusals
-- Refused callers who have not called for so long.
delete from refusals where last_at < :old;

-- name: any_old_sessions
-- Whether a session has run out whose browser never came back.
select 1 from sessions where seen_at < :idle or created_at < :longest limit 1;

-- name: forget_old_sessions
-- Sessions that have run out and whose browser never came back.
delete from sessions where seen_at < :idle or created_at < :longest;

-- name: any_silent_peers
-- Whether an AE that the site does not know was silent for so long.
select 1 from peers
where coalesce(last_received_at, '') < :old and coalesce(last_sent_at, '') < :old
and coalesce(last_error_at, '') < :old
and ae_title not in (select value from json_each(:known))
limit 1;

-- name: forget_silent_peers
-- AEs that the site does not know and that were silent for so long: titles are told by strangers.
delete from peers
where coalesce(last_received_at, '') < :old and coalesce(last_sent_at, '') < :old
and coalesce(last_error_at, '') < :old
and ae_title not in (select value from json_each(:known));

-- name: orphaned_events
-- Old events of studies that are forgotten.
select id from events where id > :last and at < :old
and not exists (select 1 from studies where id = events.study_id)
order by id limit :most;

-- name: forget_orphaned_events
-- Old events of studies that are forgotten, in a range of ids.
delete from events where id between :first and :last and at < :old
and not exists (select 1 from studies where id = events.study_id);

-- name: old_audit_lines
-- How many lines of the audit trail are old, up to so many: they stand in the order in which they
-- came.
select count(*) as lines from (
    select 1 from (select at from audit order by id limit :most) where at < :old
);

-- name: forget_audit_lines
-- The oldest lines of the audit trail.
delete from audit where at < :old and id in (select id from audit order by id limit :most);
