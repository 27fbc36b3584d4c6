-- A copy of the ledger, and a ledger that was put back: `copying.py` and `restoring.py`.

-- name: newest_change
-- When the ledger was last written to, as far as it tells.
select max(at) as at from events;

-- name: counts_to_back_up
-- How much a ledger knows.
select (select count(*) from studies) as studies, (select count(*) from instances) as instances,
(select count(*) from deliveries where state = 'waiting') as waiting;

-- name: latest_step
-- The last change of the schema that was made.
select name from _sqlite_migrations order by id desc limit 1;

-- name: named_files
-- Every file of the spool that some row names.
select digest from instances union select digest from results
union select saliency_digest from instances where saliency_digest is not null;

-- name: films_of_shard
-- Films whose stored files begin alike, and from whom each came.
select instances.digest, instances.sop_instance_uid, instances.state,
studies.study_instance_uid, group_concat(origins.calling_ae_title, char(10)) as senders
from instances
join studies on studies.id = instances.study_id
left join origins on origins.instance_id = instances.id
where instances.digest >= :first and instances.digest < :last
group by instances.id order by instances.id;

-- name: end_every_session
-- Nobody is signed in any more: a session may have ended since.
delete from sessions;

-- name: give_films_back
-- Whoever worked on a film when the copy was made is gone, and not by the film's fault.
update instances set lease_owner = null, lease_until = null, attempts = max(attempts - 1, 0)
where lease_owner is not null;

-- name: give_studies_back
-- Whoever wrote a report when the copy was made is gone, and not by the study's fault.
update studies set lease_owner = null, lease_until = null, attempts = max(attempts - 1, 0)
where lease_owner is not null;
