-- Who works, and who died at it: `workers.py`. Leases of all tables: `steps.py`.

-- name: signs_of_life
-- The last sign of life of each worker.
select * from workers order by role, number;

-- name: forget_workers
-- Whoever had a role before is dead.
delete from workers where role = :role;

-- name: note_worker
-- A sign of life; another token or process begins anew.
insert into workers
values (:role, :number, :token, :host, :pid, :state, :detail, :now, :now)
on conflict do update set token = :token, host = :host, pid = :pid,
    state = :state, detail = :detail, beat_at = :now,
    started_at = case when token = :token and pid = :pid then started_at else :now end;
