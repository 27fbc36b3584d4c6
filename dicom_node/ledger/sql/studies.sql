-- Studies on their way from open to reported, and to their end: `reporting.py`.

-- name: complete_studies
-- Open studies without news for so long and without work left. What changed in the future did so
-- before the clock was set back.
select * from studies where state = 'open'
and (changed_at <= :oldest or changed_at > :now)
and not exists (
    select 1 from instances where study_id = studies.id and state in ('received', 'admitted')
)
order by changed_at limit :limit;

-- name: any_quiet_study
-- Whether a study waits for its results to be written.
select 1 from studies indexed by studies_at_rest
where state = 'quiet' and (lease_until is null or lease_until <= :now)
limit 1;

-- name: spent_studies
-- Studies whose results stopped their writer so often that they are ended.
select * from studies indexed by studies_at_rest
where state = 'quiet' and (lease_until is null or lease_until <= :now) and attempts >= :most;

-- name: claim_study
-- Take the most urgent study; one that stopped its worker stands behind the others.
update studies set lease_owner = :worker, lease_until = :until, attempts = attempts + 1
where id in (
    select id from studies indexed by studies_at_rest
    where state = 'quiet' and (lease_until is null or lease_until <= :now) and attempts < :most
    order by attempts, priority desc, changed_at limit 1
)
returning *;

-- name: senders_of_study
-- Who sent films of a study, the first first.
select calling_ae_title, min(id) as first from origins where study_id = :id
group by calling_ae_title order by first;

-- name: results_of_study
-- Every result object that was ever written for a study.
select * from results where study_id = :id order by id;

-- name: keep_recipe
-- By what a report is made in another SOP class.
insert into recipes (group_key, study_id, recipe)
values (:group, :study, :recipe) on conflict do nothing;

-- name: freeze
-- An object that exists keeps its bytes for ever; it only becomes part of the new revision.
insert into results (study_id, revision, group_key, kind, sop_instance_uid,
    sop_class_uid, series_instance_uid, digest, size_bytes, written_at)
values (:study, :revision, :group, :kind, :uid, :sop_class, :series, :digest, :size, :now)
on conflict (sop_instance_uid) do update set revision = :revision;

-- name: post
-- Put a group of objects into the outbox, once for each destination. What was kept in shadow leaves
-- once it no longer is.
insert into deliveries (study_id, group_key, kind, destination, state,
    created_at, next_attempt_at, expires_at, held)
values (:study, :group, :kind, :destination, 'waiting', :now, :due, :expires, :held)
on conflict (group_key, destination) do update set held = :held,
    next_attempt_at = :due, expires_at = :expires
    where held = 'shadow' and :held is not 'shadow' and state = 'waiting';

-- name: posted
-- The delivery of a group to a destination.
select * from deliveries where group_key = :group and destination = :destination;

-- name: waiting_results
-- What has not left of a study's results, for who takes them back; its rejection notes stay.
select * from deliveries where study_id = :id and state = 'waiting' and group_key not like :notes;

-- name: note_retraction
-- Who took the results of a study back.
update studies set reason = :reason where id = :id;

-- name: removable_studies
-- Reported studies without news for so long whose deliveries are all sent.
select * from studies
where state = 'reported' and not exists (
    select 1 from deliveries where study_id = studies.id
    and state not in ('sent', 'committed') and not not_accepted and coalesce(held, '') <> 'shadow'
)
and changed_at <= :oldest order by changed_at limit :limit;

-- name: removable_study
-- A study, if the words of `removable_studies` hold for it still.
select * from studies
where state = 'reported' and not exists (
    select 1 from deliveries where study_id = studies.id
    and state not in ('sent', 'committed') and not not_accepted and coalesce(held, '') <> 'shadow'
)
and id = :id;

-- name: parked_studies
-- Reported studies without news for so long of which nothing goes by itself any more: refused,
-- expired, or held and never approved.
select * from studies
where state = 'reported' and not exists (
    select 1 from deliveries where study_id = studies.id and state = 'waiting' and held is null
)
and changed_at <= :oldest order by changed_at limit :limit;

-- name: parked_study
-- A study, if the words of `parked_studies` hold for it still.
select * from studies
where state = 'reported' and not exists (
    select 1 from deliveries where study_id = studies.id and state = 'waiting' and held is null
)
and id = :id;

-- name: digests_of_study
-- Every stored file that a study's rows name.
select digest from instances where study_id = :id
union select saliency_digest from instances where study_id = :id and saliency_digest is not null
union select digest from results where study_id = :id;

-- name: is_named
-- Whether any row names a stored file.
select 1 from instances where digest = :digest
union all select 1 from instances where saliency_digest = :digest
union all select 1 from results where digest = :digest limit 1;

-- name: forget_words
-- A study goes: its words for searching.
delete from case_words where rowid = :id;

-- name: forget_reading
-- A study goes: what a person wrote of it.
delete from readings where study_id = :id;

-- name: forget_observations
-- A study goes: what the case list tells of its observations.
delete from observations where study_id = :id;

-- name: forget_case
-- A study goes: its row in the case list.
delete from cases where study_id = :id;

-- name: forget_deliveries
-- A study goes: what was sent of it.
delete from deliveries where study_id = :id;

-- name: forget_results
-- A study goes: what was written of it.
delete from results where study_id = :id;

-- name: forget_origins
-- A study goes: who sent it.
delete from origins where study_id = :id;

-- name: forget_films
-- A study goes: its films.
delete from instances where study_id = :id;

-- name: forget_study
-- A study goes.
delete from studies where id = :id;
