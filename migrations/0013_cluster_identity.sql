-- What a resource's cluster is known by, beside its port: the system identifier that initdb
-- gave it, and its data directory, which tells a copy of it apart. Both are pinned when it is
-- first felt in service; a role that may not see the second leaves it null.
alter table resources
    add column system_identifier text check (system_identifier ~ '^[0-9]{1,20}$'),
    add column data_directory text
        check (data_directory like '/%' and length(data_directory) <= 4096);
