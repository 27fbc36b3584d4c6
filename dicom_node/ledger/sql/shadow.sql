-- What networks in shadow said, apart from the findings: `shadow.py`, `working.py`.

-- name: forget_shadow
-- What was said in shadow of a film that is analysed anew.
delete from shadow_observations where instance_id = :id;

-- name: keep_shadow
-- What one network said in shadow of a film.
insert into shadow_observations (instance_id, network, observations_json, at)
values (:id, :network, :observations, :now);

-- name: answered_films
-- Analysed films that came since a moment, by their id, so many after one.
select id, sop_instance_uid, findings_json from instances
where state = 'analysed' and id > :after and received_at >= :since and findings_json is not null
order by id limit :limit;

-- name: said_in_shadow
-- What was said in shadow of some films.
select instance_id, network, observations_json from shadow_observations
where instance_id in (select value from json_each(:ids));
