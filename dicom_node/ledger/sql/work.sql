-- Films on their way from received to what became of them: `working.py`.
-- SQLite takes an index "where ..." only for a question with the same words in it.

-- name: any_film_to_claim
-- Whether there is a film in a state that nobody holds; read first, so that an idle worker does not
-- take the write lock several times a second.
select 1 from instances
where state = :state and (lease_until is null or lease_until <= :now)
limit 1;

-- name: spent_films
-- Films that stopped their worker so often that they are set aside.
select * from instances indexed by instances_suspect
where state = :state and attempts > 0 and attempts >= :most
and (lease_until is null or lease_until <= :now);

-- name: claim_films
-- Take the first films that are free, up to one whose worker died while it held it; that one alone.
with free as (
    select id, attempts, row_number() over (order by priority desc, id) as place from (
        select id, attempts, priority from instances indexed by instances_at_work
        where state = :state and state in ('received', 'admitted')
        and (lease_until is null or lease_until <= :now) and attempts < :most
        order by priority desc, id limit :limit
    )
), suspect as (
    select min(place) as place from free where attempts > 0
)
update instances set lease_owner = :worker, lease_until = :until, attempts = attempts + 1
where id in (
    select free.id from free, suspect
    where suspect.place is null or free.place < suspect.place
    or (:suspects and suspect.place = 1 and free.place = 1)
)
returning id;

-- name: claimed_films
-- The films that were just claimed, the most urgent first.
select instances.*, studies.study_instance_uid from instances
join studies on studies.id = instances.study_id
where instances.id in (select value from json_each(:ids))
order by instances.priority desc, instances.id;

-- name: rank_study
-- Let a study be as urgent as its most urgent film: films that nobody ranks are 0.
update studies set priority = (
    select max(priority) from instances
    where study_id = :id and state not in ('received', 'declined', 'failed')
)
where id = :id;

-- name: forget_shadow
-- What was said in shadow of a film that is analysed anew.
delete from shadow_observations where instance_id = :id;

-- name: keep_shadow
-- What one network said in shadow of a film.
insert into shadow_observations (instance_id, network, observations_json, at)
values (:id, :network, :observations, :now);
