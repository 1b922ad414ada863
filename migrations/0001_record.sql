-- The record: what drover knows about its herd.
--
-- Ids are ULIDs, stored as their 26 characters, because a subject's id is also
-- the id of its token in apalis.jobs, which is text.

create table tiers (
    name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    -- what differs from the deployment's own rules; see docs/configuration.md
    rules jsonb not null default '{}' check (jsonb_typeof(rules) = 'object')
);
insert into tiers (name) values ('standard');

create table subjects (
    id text primary key check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    kind text not null check (kind in ('server', 'resource')),
    name text not null check (length(name) between 1 and 63),
    state text not null check (state in
        ('creating', 'available', 'uncertain', 'unavailable', 'destroying', 'destroyed')),
    state_since timestamptz not null default now(),
    desired text not null default 'present' check (desired in ('present', 'absent')),
    origin text not null check (origin in ('adopted', 'created')),
    tier text not null default 'standard' references tiers (name),
    -- the lease a resolver works under
    lock_owner text,
    lock_until timestamptz,
    lock_fence bigint not null default 0,
    created_at timestamptz not null default now(),
    -- set when the subject is gone; the row stays as history
    forgotten_at timestamptz
);
create unique index subjects_live_name on subjects (kind, name) where forgotten_at is null;
create index subjects_live on subjects (kind, state, id) where forgotten_at is null;

create table servers (
    id text primary key references subjects (id),
    address text not null,
    ssh_port int not null check (ssh_port between 1 and 65535),
    ssh_user text not null,
    -- sealed private key; null: the deployment's own key
    ssh_key bytea,
    -- the pinned host key, as in known_hosts: "ssh-ed25519 AAAA…"; null until
    -- the first contact has read it
    host_key text,
    -- where it runs: 'local', 'ec2', or null when drover only looks after it
    cloud text check (cloud in ('local', 'ec2')),
    instance_id text,
    zone text,
    check ((cloud is null) = (instance_id is null))
);
create index servers_address on servers (address, ssh_port);

create table resources (
    id text primary key references subjects (id),
    server_id text not null references servers (id),
    port int not null check (port between 1 and 65535),
    database text not null,
    role text not null,
    -- sealed password
    password bytea not null,
    tls_mode text not null check (tls_mode in ('disable', 'prefer', 'require', 'verify-full')),
    -- PEM of the authorities that verify-full trusts; null: the system's
    tls_root_cert text,
    plan text not null,
    leader_id text references resources (id)
);
create index resources_server on resources (server_id);

-- What one feel saw. Partitioned by day (see store/partitions.rs); no foreign
-- key, because this table takes thousands of rows a second.
create table observations (
    id text not null,
    created_at timestamptz not null default now(),
    subject_id text not null,
    worker text not null,
    -- feel workers alive when it was written: how many witnesses there could be
    feelers smallint not null,
    attributes jsonb not null,
    primary key (subject_id, created_at, id)
) partition by range (created_at);
create index observations_created_at on observations using brin (created_at)
    with (pages_per_range = 16, autosummarize = on);

create table transitions (
    id text primary key,
    created_at timestamptz not null default now(),
    subject_id text not null references subjects (id),
    from_state text not null,
    to_state text not null,
    reason text not null,
    -- the observation that caused it; its partition may be gone by now
    observation_id text not null,
    -- the kind of incident this change calls for, if any
    opens text,
    worker text not null
);
create index transitions_subject on transitions (subject_id, created_at desc);
create index transitions_created_at on transitions (created_at desc);

-- Append-only means that the database refuses, whoever asks.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, tg_op
        using errcode = 'restrict_violation',
              hint = 'old days leave as whole partitions; nothing else is ever changed';
end $$;

create trigger append_only before update or delete on observations
    for each row execute function refuse_change();
create trigger append_only before update or delete on transitions
    for each row execute function refuse_change();
create trigger no_truncate before truncate on observations
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on transitions
    for each statement execute function refuse_change();

-- A day's partition. The triggers for rows are cloned from the parent; the one
-- for truncate is not, so each partition gets its own. Rows of that day that the
-- default partition has taken in meanwhile move over.
create function create_observations_day(day date) returns boolean language plpgsql as $$
declare
    part text := 'observations_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day::timestamp at time zone 'UTC';
    ends timestamptz := (day + 1)::timestamp at time zone 'UTC';
    strays boolean;
begin
    if to_regclass(format('%I', part)) is not null then
        return false;
    end if;
    select exists (select from observations_default
                   where created_at >= begins and created_at < ends) into strays;
    if strays then
        alter table observations detach partition observations_default;
        alter table observations_default rename to observations_strays;
        alter index observations_default_pkey rename to observations_strays_pkey;
        perform create_observations_default();
    end if;
    execute format(
        'create table %I partition of observations for values from (%L) to (%L)',
        part, begins, ends);
    execute format(
        'create trigger no_truncate before truncate on %I
         for each statement execute function refuse_change()', part);
    if strays then
        insert into observations select * from observations_strays;
        drop table observations_strays;
    end if;
    return true;
end $$;

-- Catches what no day's partition takes, so that a clock that slept for a week
-- does not stop the ring.
create function create_observations_default() returns void language plpgsql as $$
begin
    create table observations_default partition of observations default;
    create trigger no_truncate before truncate on observations_default
        for each statement execute function refuse_change();
end $$;
select create_observations_default();

select create_observations_day((now() at time zone 'UTC')::date + n)
from generate_series(0, 3) as n;
