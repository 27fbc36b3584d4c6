-- Attempts to sign in: `sign_ins.py`.

-- name: has_signed_in
-- Whether a name has ever signed in from an address.
select 1 from sign_ins
where name = :name and address = :address and signed_in_at is not null;

-- name: locked_until
-- Until when no further attempt is checked.
select locked_until from sign_ins where name = :name and address = :address;

-- name: count_attempt
-- One more attempt, wrong until it turns out to be right.
insert into sign_ins (name, address, failures, tried_at)
values (:name, :address, 1, :now)
on conflict do update set failures = failures + 1, tried_at = :now
returning failures;

-- name: lock
-- Let the next attempt wait.
update sign_ins set locked_until = :until where name = :name and address = :address;

-- name: forgive
-- The password was right: what was counted for the name elsewhere, and for the address, is forgotten.
delete from sign_ins
where (name = :name and address = :any) or (name = :any and address = :address);

-- name: note_sign_in
-- From where a name has signed in.
insert into sign_ins (name, address, failures, tried_at, signed_in_at)
values (:name, :address, 0, :now, :now)
on conflict do update
set failures = 0, locked_until = null, tried_at = :now, signed_in_at = :now;

-- name: forget_attempts
-- Every wrong password of a name, and from where it was right.
delete from sign_ins where name = :name;

-- name: forget_old_attempts
-- Attempts of long ago, and addresses from which nobody has signed in for longer.
delete from sign_ins
where tried_at < :old and (signed_in_at is null or signed_in_at < :older);
