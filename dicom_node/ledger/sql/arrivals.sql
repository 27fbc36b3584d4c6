-- What comes in at the doors, and who was rejected there: `receiving.py`.

-- name: known_instances
-- What is known under a SOP Instance UID: the same bytes again, or others.
select id, study_id, digest from instances where sop_instance_uid = :uid;

-- name: note_contact
-- An AE has sent something.
insert into peers (ae_title, last_received_at) values (:ae, :now)
on conflict do update set last_received_at = :now;

-- name: change_study
-- A study has news. Not an upsert: with autoincrement each of those would use up an id.
update studies set changed_at = :now where study_instance_uid = :uid returning *;

-- name: describe_study_again
-- What comes later may correct whose study it is.
update cases set described = 0 where study_id = :id;

-- name: note_origin
-- Who sent a film; a sender that is known is not noted again.
insert into origins
    (instance_id, study_id, calling_ae_title, called_ae_title, peer_address, first_at)
values (:instance, :study, :calling, :called, :peer, :now)
on conflict (instance_id, calling_ae_title) do nothing;

-- name: count_duplicate
-- The same bytes came once more.
update instances set duplicate_count = duplicate_count + 1 where id = :id;

-- name: refusals
-- Who was rejected, latest first.
select * from refusals order by last_at desc;

-- name: count_refusal
-- Associations were rejected for the same reason.
insert into refusals (calling_ae_title, called_ae_title, peer_address, reason, remedy, count, last_at)
values (:calling, :called, :peer, :reason, :remedy, :count, :at)
on conflict do update set count = count + :count, last_at = :at, remedy = :remedy;

-- name: refusals_too_many
-- When the latest of those was that are not kept one by one.
select last_at from refusals where reason <> :others
order by last_at desc limit 1 offset :most;

-- name: sum_old_refusals
-- How many there were until then, for the row that counts them all.
select sum(count) as count, max(last_at) as last from refusals
where last_at <= :until and reason <> :others;

-- name: forget_old_refusals
-- They are counted in one row.
delete from refusals where last_at <= :until and reason <> :others;

-- name: dismiss_refusals
-- A person has seen them: all that match what is asked for.
delete from refusals
where (:calling is null or calling_ae_title = :calling)
and (:called is null or called_ae_title = :called)
and (:peer is null or peer_address = :peer)
and (:reason is null or reason = :reason);
