-- Films of one patient, by a digest: `patients.py`.
-- "indexed by": SQLite knows nothing of how many rows are in a state, and takes the millions that
-- are analysed.

-- name: earlier_films
-- Analysed films of a study's patients in other studies, latest first: the latest bytes alone of a
-- film that was sent again, whose results stand, and that did not come by hand alone.
select instances.*, studies.study_instance_uid
from instances indexed by instances_by_patient
join studies on studies.id = instances.study_id
where instances.patient_key in (
    select patient_key from instances where study_id = :study and patient_key <> ''
)
and instances.study_id <> :study and instances.state = 'analysed'
and not exists (
    select 1 from instances as later
    where later.sop_instance_uid = instances.sop_instance_uid
    and later.study_id = instances.study_id and later.id > instances.id
)
and coalesce(studies.reason, '') not like :retracted
and exists (
    select 1 from origins
    where origins.instance_id = instances.id and calling_ae_title <> :by_hand
)
order by instances.received_at desc limit :limit;

-- name: earlier_severity
-- The severity of the most severe film of a patient's other studies, of the same films.
select max(severity) as worst from instances
join studies on studies.id = instances.study_id
where patient_key = :key and instances.study_id <> :study and instances.state = 'analysed'
and coalesce(studies.reason, '') not like :retracted
and exists (
    select 1 from origins
    where origins.instance_id = instances.id and calling_ae_title <> :by_hand
);

-- name: unkeyed_films
-- Analysed films whose patient key is not known by today's rule, oldest first.
select instances.*, studies.study_instance_uid
from instances indexed by instances_unkeyed
join studies on studies.id = instances.study_id
where instances.state = 'analysed' and instances.patient_key is null
order by instances.id limit :limit;

-- name: key_film
-- Note the patient key of a film; "" for one that names no patient.
update instances set patient_key = :key where id = :id;
