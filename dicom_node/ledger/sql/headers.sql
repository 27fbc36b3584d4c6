-- What headers say, and by what reports are made anew: `facts.py`, `recipes.py`.

-- name: facts
-- What is known of some objects.
select digest, told from facts
where told is not null and digest in (select value from json_each(:digests));

-- name: without_facts
-- Objects whose header nobody has read yet.
select digest from facts where told is null limit :limit;

-- name: keep_facts
-- Keep what a header says; of an object that is gone meanwhile nothing.
update facts set told = :told where digest = :digest;

-- name: recipe
-- By what a report is made in another SOP class.
select recipe from recipes where group_key = :group;

-- name: freeze_again
-- Freeze a report in one more SOP class, beside the one that it was made from.
insert into results (study_id, revision, group_key, kind, sop_instance_uid,
    sop_class_uid, series_instance_uid, digest, size_bytes, written_at)
select study_id, revision, group_key, kind, :uid, :sop_class,
    series_instance_uid, :digest, :size, :now
from results where group_key = :group order by id limit 1
on conflict (sop_instance_uid) do nothing;
