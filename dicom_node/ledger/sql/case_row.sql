-- From what a row of the case list is made: `case_row.py`.

-- name: study_to_list
-- How far a study is.
select state, reason, revision, opened_at from studies where id = :id;

-- name: films_to_list
-- What became of a study's films, without their findings.
select id, state, reason, view, received_at, severity, in_doubt from instances
where study_id = :id order by id;

-- name: findings_to_list
-- The findings of the film that speaks for its study.
select findings_json from instances where id = :id;

-- name: sender_to_list
-- Who sent a study first.
select calling_ae_title from origins where study_id = :id order by id limit 1;

-- name: reading_to_list
-- Whether and by whom a study's report was read.
select state, reader, revision from readings where study_id = :id;

-- name: deliveries_to_list
-- In which states a study's deliveries are; held ones that wait are told apart.
select distinct
    case when held is not null and state = 'waiting' then 'held' else state end as state
from deliveries where study_id = :id and not not_accepted;

-- name: list_case
-- A study's row of the case list, new or in place of the one before.
insert into cases (study_id, received_at, state, films, outcome, reason, view, finding, probability,
    abstained, opacity, opacity_probability, appearance, appearance_probability,
    figures, in_lungs, chance, peak_in_lungs,
    change_when_hidden, severity, in_doubt, sender, delivery, reading, earlier_reader)
values (:study_id, :received_at, :state, :films, :outcome, :reason, :view, :finding, :probability,
    :abstained, :opacity, :opacity_probability, :appearance, :appearance_probability,
    :figures, :in_lungs, :chance, :peak_in_lungs,
    :change_when_hidden, :severity, :in_doubt, :sender, :delivery, :reading, :earlier_reader)
on conflict do update set received_at = :received_at, state = :state, films = :films,
    outcome = :outcome, reason = :reason, view = :view, finding = :finding,
    probability = :probability, abstained = :abstained, opacity = :opacity,
    opacity_probability = :opacity_probability, appearance = :appearance,
    appearance_probability = :appearance_probability, figures = :figures, in_lungs = :in_lungs,
    chance = :chance, peak_in_lungs = :peak_in_lungs, change_when_hidden = :change_when_hidden,
    severity = :severity, in_doubt = :in_doubt, sender = :sender, delivery = :delivery,
    reading = :reading, earlier_reader = :earlier_reader;
