-- The case list, its descriptions and what readers said: `casebook.py`, where searches are put
-- together.

-- name: hits
-- How many cases a search by words finds, up to so many.
select count(*) as hits from (select 1 from case_words where words match :words limit :most);

-- name: case
-- The row of one study in the case list.
select cases.*, studies.study_instance_uid from cases
join studies on studies.id = cases.study_id
where study_id = :id;

-- name: senders
-- Every AE title that a case came from.
select ae_title from peers where last_received_at is not null order by ae_title;

-- name: undescribed
-- Studies whose entry names no patient yet.
select study_id from cases where not described order by study_id limit :limit;

-- name: forget_words_of_case
-- What a case was found by until now.
delete from case_words where rowid = :id;

-- name: keep_words_of_case
-- By what a case is found.
insert into case_words (rowid, words) values (:id, :words);

-- name: reading
-- A reader's lines under a study's report, and whether there is a newer report.
select readings.*, readings.revision < studies.revision as is_outdated from readings
join studies on studies.id = readings.study_id
where study_id = :id;

-- name: present_reading
-- What stands under a report before somebody writes.
select * from readings where study_id = :id;

-- name: keep_reading
-- A reader's lines, in place of earlier ones.
insert into readings (study_id, revision, state, comment, reader, at)
values (:id, :revision, :state, :comment, :reader, :now)
on conflict do update set revision = :revision, state = :state,
    comment = :comment, reader = :reader, at = :now;

-- name: feedback_of_study
-- What readers said of the answers on a study's films.
select * from feedback where study_id = :id order by id;

-- name: answer_on_film
-- What the networks had said of a film, the latest bytes of it first.
select findings_json from instances
where study_id = :study and sop_instance_uid = :uid order by id desc;

-- name: keep_feedback
-- What a reader says of a film, in place of his earlier word.
insert into feedback (study_id, study_instance_uid, answer_json, sop_instance_uid, reader, verdict,
    finding, numbers, comment, at)
values (:study, :study_uid, :answer, :uid, :reader, :verdict,
    :finding, :numbers, :comment, :now)
on conflict (sop_instance_uid, reader) do update set verdict = :verdict, answer_json = :answer,
    finding = :finding, numbers = :numbers, comment = :comment, at = :now;

-- name: all_feedback
-- Every feedback beside what the networks had said, for export; no patient in it.
select * from feedback order by id;

-- name: scores_since
-- Findings of all cases received since, without identity and without the node's own trials.
select received_at, outcome, finding, probability, abstained, figures,
    in_lungs, delivery
from cases where received_at >= :since and sender <> :trial order by received_at;

-- name: stages_since
-- The moments of each of the latest studies received since: received, analysed, reported, sent.
select study_id,
    min(case when what = 'instance.received' then at end) as received,
    max(case when what = 'instance.analysed' then at end) as analysed,
    max(case when what = 'study.reported' then at end) as reported,
    max(case when what = 'delivery.sent' then at end) as sent
from events where study_id in (
    select study_id from cases where received_at >= :since order by received_at desc limit :most
)
group by study_id;
