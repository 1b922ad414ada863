-- How apalis's queue table is stored when every token in it is rewritten four
-- times a lap: room on each page for the next version of its rows, and an
-- autovacuum that comes early and does not dawdle. The clock vacuums besides.
alter table apalis.jobs set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);
alter table apalis.workers set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_threshold = 100
);

-- Indexes that say again what another says; each would be written anew every
-- time a token moves.
drop index if exists apalis.unique_job_id;  -- as jobs_pkey
drop index if exists apalis.lidx;           -- as idx_apalis_jobs_lock_by
drop index if exists apalis.lsidx;          -- as idx_apalis_workers_last_seen
drop index if exists apalis.wtidx;          -- as idx_apalis_workers_worker_type
-- The same indexes, without the rows they say nothing of: waiting tokens have
-- no lock, and no token has an idempotency key.
drop index if exists apalis.idx_apalis_jobs_lock_by;
create index idx_apalis_jobs_lock_by on apalis.jobs (lock_by) where lock_by is not null;
drop index if exists apalis.idx_jobs_idempotency_key;
create unique index idx_jobs_idempotency_key on apalis.jobs (job_type, idempotency_key)
    where idempotency_key is not null;
