-- Users, sessions, uploads and the audit trail: `people.py`.

-- name: users
-- Every user.
select * from users order by name;

-- name: user
-- One user.
select * from users where name = :name;

-- name: admins
-- Who may manage users: the last one stays one.
select name from users where role = 'admin';

-- name: keep_user
-- Add a user, or give one another role and password.
insert into users (name, role, password_hash, created_at)
values (:name, :role, :hash, :now)
on conflict do update set role = :role, password_hash = :hash;

-- name: keep_person
-- Add one whom an identity provider knows, or note another role; no password fits.
insert into users (name, role, password_hash, created_at)
values (:name, :role, '', :now)
on conflict do update set role = :role;

-- name: remove_user
-- A user goes.
delete from users where name = :name;

-- name: end_sessions_of_user
-- A user signs in anew, everywhere.
delete from sessions where user = :name;

-- name: end_sessions_of_another_role
-- A person has another role now than the sessions were opened with.
delete from sessions
where user = :name and user in (select name from users where role <> :role);

-- name: open_session
-- A user has signed in.
insert into sessions values (:token, :name, :csrf, :now, :now);

-- name: session
-- A session and what its user may do.
select sessions.*, users.role from sessions
join users on users.name = sessions.user
where token_hash = :token;

-- name: use_session
-- A session is in use.
update sessions set seen_at = :now where token_hash = :token;

-- name: end_session
-- A session ends.
delete from sessions where token_hash = :token;

-- name: forget_uploads
-- What was uploaded on other days counts no more.
delete from uploads where day <> :today;

-- name: uploaded
-- How many bytes a person has uploaded today.
select bytes from uploads where who = :who;

-- name: count_upload
-- A person uploads more.
insert into uploads (who, day, bytes) values (:who, :today, :size)
on conflict do update set bytes = bytes + :size;

-- name: audit_before
-- The latest lines of the audit trail older than one.
select * from audit where id < :before order by id desc limit :limit;

-- name: audit_of_study
-- The latest lines of the audit trail of one study.
select * from audit where study_id = :study order by id desc limit :limit;
