-- A control database that was restored from a dump, or is another's copy, is told by its own
-- identity and by what the servers have obeyed since.
alter table deployment
    -- of the database that this record was last known to be in
    add column system_identifier text,
    add column database_oid bigint;

-- A lead that the nodes have taken since the record was written.
alter table leader_changes
    drop constraint leader_changes_kind_check,
    add constraint leader_changes_kind_check
        check (kind in ('switchover', 'failover', 'unfollow', 'adopted'));
