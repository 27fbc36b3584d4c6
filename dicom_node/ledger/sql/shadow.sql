-- What was reported of films, and said in shadow: `shadow.py`.

-- name: answered_films
-- Analysed films that came since a moment, by their id, so many after one.
select id, sop_instance_uid, findings_json from instances
where state = 'analysed' and id > :after and received_at >= :since and findings_json is not null
order by id limit :limit;

-- name: said_in_shadow
-- What was said in shadow of some films.
select instance_id, network, observations_json from shadow_observations
where instance_id in (select value from json_each(:ids));
