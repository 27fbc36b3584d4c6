-- What a person is told, once when it begins and once when it ends: `alarms.py`.

-- name: alarms_up
-- Alarms that have not ended, the oldest first.
select * from alarms where ended_at is null order by id;

-- name: latest_alarms
-- The latest alarms, newest first.
select * from alarms order by id desc limit :most;

-- name: raise_alarm
-- Something is wrong; one alarm of a kind and subject at a time.
insert into alarms (kind, subject, facts_json, risen_at) values (:kind, :subject, :facts, :now)
on conflict do nothing;

-- name: alarm_up
-- The alarm of a kind and subject that has not ended.
select * from alarms where kind = :kind and subject = :subject and ended_at is null;

-- name: refresh_alarm
-- What is told of an alarm changes.
update alarms set facts_json = :facts where id = :id and facts_json <> :facts;

-- name: end_alarm
-- It is over.
update alarms set ended_at = :now where id = :id and ended_at is null;

-- name: post_notice
-- A person is to be told by a channel.
insert into alarm_notices (alarm_id, what, channel, next_attempt_at)
values (:alarm, :what, :channel, :now);

-- name: first_notice
-- What a channel has to tell first, if its time has come: in the order in which it happened.
select notices.id as notice_id, notices.what, notices.attempts, alarms.* from (
    select * from alarm_notices where channel = :channel order by id limit 1
) as notices
join alarms on alarms.id = notices.alarm_id
where notices.next_attempt_at <= :now;

-- name: forget_notice
-- It was told, or is given up.
delete from alarm_notices where id = :id;

-- name: postpone_notice
-- The channel did not take it: again later.
update alarm_notices set attempts = attempts + 1, next_attempt_at = :next where id = :id;

-- name: untold_notices
-- How many notices wait, by channel.
select channel, count(*) as number from alarm_notices group by channel;

-- name: forget_other_channels
-- Channels that are configured no more tell nothing.
delete from alarm_notices where channel not in (select value from json_each(:known));

-- name: any_old_alarm
-- Whether an alarm ended long ago.
select 1 from alarms where ended_at < :old limit 1;

-- name: forget_old_alarms
-- Alarms that ended long ago.
delete from alarms where ended_at < :old;
