-- Followers: streaming replicas of a resource, on servers of their own.

alter table plans
    -- how many followers a resource has from its birth, in other zones
    add column followers smallint not null default 0 check (followers between 0 and 5),
    -- async: a failover may lose what was not sent yet; sync: no commit that was
    -- acknowledged is ever lost, and without a follower none is acknowledged
    add column durability text not null default 'async' check (durability in ('async', 'sync')),
    -- how far behind the best follower may be for drover to promote it by itself
    add column max_lag_bytes bigint not null default 16777216 check (max_lag_bytes >= 0),
    -- WAL that is kept for a follower which does not fetch it
    add column slot_wal_mib integer not null default 10240 check (slot_wal_mib > 0),
    -- how fast a follower is filled from its leader, per second
    add column backup_rate_mib integer not null default 256 check (backup_rate_mib > 0);

insert into plans (name, title, shared, sizes, volume_gib, connections, storage_gib,
                   per_server, extensions, retention_days, followers) values
    ('premium', 'A server to itself, and a follower in another zone', false,
     '{"local": ["medium", "large"], "ec2": ["m6i.large", "m6a.large", "r6i.large"]}',
     100, 200, 80, 1, '{pg_stat_statements,pgcrypto,citext,hstore,pg_trgm,uuid-ossp}', 30, 1);

alter table resources
    -- counts the changes of leader: whoever bears an older number leads no more
    add column epoch bigint not null default 1,
    add column durability text not null default 'async' check (durability in ('async', 'sync')),
    add column max_lag_bytes bigint not null default 16777216 check (max_lag_bytes >= 0),
    -- a leader's: what its followers log in with, sealed
    add column replication_password bytea;
create index resources_leader on resources (leader_id) where leader_id is not null;
