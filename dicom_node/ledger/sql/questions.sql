-- What people, scripts and pages ask of films, studies and deliveries: `reading.py`, where those that
-- may be asked in several ways are put together.

-- name: instance
-- One film with its study's Study Instance UID.
select instances.*, studies.study_instance_uid from instances
join studies on studies.id = instances.study_id
where instances.id = :id;

-- name: instances_by_uid
-- The films with a SOP Instance UID, several on conflict.
select instances.*, studies.study_instance_uid from instances
join studies on studies.id = instances.study_id
where instances.sop_instance_uid = :uid order by instances.id;

-- name: instances_of_study
-- The films of a study in the order of arrival.
select instances.*, studies.study_instance_uid from instances
join studies on studies.id = instances.study_id
where instances.study_id = :id order by instances.id;

-- name: study_by_uid
-- The study with a Study Instance UID.
select * from studies where study_instance_uid = :uid;

-- name: peers
-- What is known of each AE that ever sent or received, and how much waits for it.
select peers.*, coalesce((
    select number from tallies
    where thing = 'deliveries' and destination = ae_title and state = 'waiting'
), 0) as waiting
from peers order by ae_title;

-- name: tallies
-- How many rows of a table are in each state, counted so far.
select state, sum(number) as number from tallies where thing = :thing
group by state having sum(number) > 0;

-- name: unfinished
-- How many films, studies and deliveries are not at their end.
select (select count(*) from instances where state in ('received', 'admitted'))
    + (select count(*) from studies where state in ('open', 'quiet'))
    + (select count(*) from deliveries where state = 'waiting' and held is null)
    as number;
