-- Failover: what a plan allows when a leader is gone.

alter table plans
    -- how long a leader that is down may be mended before a follower takes its lead
    add column failover_patience_s integer not null default 10
        check (failover_patience_s between 0 and 3600),
    -- true: promote though nothing proves that the old leader takes no writes any more
    add column failover_unfenced boolean not null default false;
