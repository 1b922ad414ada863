-- The system identifier that initdb gave the resource's cluster: pinned when it is first
-- felt. Two clusters that claim one port are told apart by it.
alter table resources add column system_identifier text
    check (system_identifier ~ '^[0-9]{1,20}$');
