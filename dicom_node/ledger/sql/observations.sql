-- What declared bundles say of cases in the list, and what readers say of it: `observed.py`.

-- name: headlines_of_films
-- What the list is told of each film of a study.
select headlines from instances where study_id = :id and headlines is not null order by id;

-- name: observations_of_study
-- What the list tells of a study.
select network, key, number, text, found, unit, received_at from observations where study_id = :id;

-- name: forget_observations_of_study
-- What the list told of a study until now.
delete from observations where study_id = :id;

-- name: keep_observation
-- What the list tells of a study under one key of a network.
insert into observations (study_id, network, key, number, text, found, unit, received_at)
values (:id, :network, :key, :number, :text, :found, :unit, :received_at);

-- name: observations_of_studies
-- What the list tells of the studies of a page.
select study_id, network, key, number, text, found, unit from observations
where study_id in (select value from json_each(:ids));

-- name: observations_since
-- What one key said of cases received since, without the node's own trials and without identity.
select observations.received_at, found, number
from observations indexed by observations_by_time
join cases on cases.study_id = observations.study_id
where network = :network and key = :key and observations.received_at >= :since
and cases.sender <> :trial
order by observations.received_at;

-- name: said_of_observations
-- What readers said of the headlines of a study's films.
select * from feedback_observations where study_id = :id order by sop_instance_uid, network, key;

-- name: headlines_of_film
-- What the list is told of a film, the latest bytes of it first.
select headlines from instances
where study_id = :study and sop_instance_uid = :uid order by id desc limit 1;

-- name: keep_observation_feedback
-- What a reader says of one headline of a film, in place of his earlier word.
insert into feedback_observations (study_id, study_instance_uid, sop_instance_uid, reader, network,
    key, verdict, answer_number, answer_text, answer_found, at)
values (:study, :study_uid, :uid, :reader, :network, :key, :verdict, :number, :text, :found, :now)
on conflict (sop_instance_uid, reader, network, key) do update set verdict = :verdict,
    answer_number = :number, answer_text = :text, answer_found = :found, at = :now;

-- name: all_observation_feedback
-- Every word on a headline beside what the network had said, for export; no patient in it.
select * from feedback_observations order by at, sop_instance_uid, network, key;
