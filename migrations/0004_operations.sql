-- What is made, changed and taken away, and out of what.

-- An operation changes a subject's state too, and no observation stands behind that.
alter table transitions alter column observation_id drop not null;

-- Where things can be made: published by resolve workers, which know the clouds.
create table regions (
    cloud text not null check (cloud in ('local', 'ec2')),
    name text not null,
    zones text[] not null,
    -- why the cloud could not be asked for its zones, if so
    problem text,
    published_at timestamptz not null default now(),
    primary key (cloud, name)
);

-- What servers can be: the clouds' own names.
create table sizes (
    cloud text not null check (cloud in ('local', 'ec2')),
    name text not null,
    vcpus integer not null check (vcpus > 0),
    memory_mib integer not null check (memory_mib > 0),
    primary key (cloud, name)
);
insert into sizes (cloud, name, vcpus, memory_mib) values
    ('local', 'small', 1, 512),
    ('local', 'medium', 2, 1024),
    ('local', 'large', 4, 2048),
    ('ec2', 't3.medium', 2, 4096),
    ('ec2', 't3a.medium', 2, 4096),
    ('ec2', 't3.large', 2, 8192),
    ('ec2', 't3a.large', 2, 8192),
    ('ec2', 'm6i.large', 2, 8192),
    ('ec2', 'm6a.large', 2, 8192),
    ('ec2', 'm6i.xlarge', 4, 16384),
    ('ec2', 'm6a.xlarge', 4, 16384),
    ('ec2', 'm6i.2xlarge', 8, 32768),
    ('ec2', 'm6a.2xlarge', 8, 32768),
    ('ec2', 'r6i.large', 2, 16384),
    ('ec2', 'r6a.large', 2, 16384),
    ('ec2', 'r6i.xlarge', 4, 32768),
    ('ec2', 'r6a.xlarge', 4, 32768),
    ('ec2', 'r6i.2xlarge', 8, 65536),
    ('ec2', 'r6a.2xlarge', 8, 65536);

-- What can be bought.
create table plans (
    name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    title text not null,
    -- whether resources of this plan share servers
    shared boolean not null,
    tier text not null default 'standard' references tiers (name),
    -- by cloud, the sizes a server may have; the first that the cloud has room for
    sizes jsonb not null check (jsonb_typeof(sizes) = 'object'),
    -- the data volume of a server made for it
    volume_gib integer not null check (volume_gib > 0),
    volume_type text not null default 'gp3',
    -- connections that a customer may have open
    connections integer not null check (connections > 0),
    -- how large a database should be at most
    storage_gib integer not null check (storage_gib > 0),
    -- most resources on one server
    per_server integer not null check (per_server > 0),
    -- PostgreSQL's major version; null: what the server's distribution has
    postgres integer,
    -- extensions that the customer may create
    extensions text[] not null default '{}',
    -- days that its backups and observations are worth keeping
    retention_days integer not null check (retention_days > 0),
    -- the remedies that may be used for it, `kind/remedy`; null: all
    remedies text[],
    -- most resources of this plan in the deployment; null: no limit of its own
    max_resources integer,
    check (shared or per_server = 1)
);
insert into plans (name, title, shared, sizes, volume_gib, connections, storage_gib,
                   per_server, extensions, retention_days) values
    ('starter', 'A database on a server shared with others', true,
     '{"local": ["small"], "ec2": ["t3.large", "t3a.large", "m6i.large"]}',
     100, 20, 10, 10, '{pg_stat_statements,pgcrypto,citext,hstore,pg_trgm,uuid-ossp}', 7),
    ('production', 'A database with a server to itself', false,
     '{"local": ["medium", "large"], "ec2": ["m6i.large", "m6a.large", "r6i.large"]}',
     100, 200, 80, 1, '{pg_stat_statements,pgcrypto,citext,hstore,pg_trgm,uuid-ossp}', 30);

-- Servers that drover makes. The address is empty until the cloud has said it.
alter table servers drop constraint servers_check;
alter table servers add constraint servers_instance check (instance_id is null or cloud is not null);
alter table servers
    add column region text,
    add column size text,
    add column volume_gib integer check (volume_gib > 0),
    add column volume_type text,
    add column volume_id text,
    -- the plan whose resources it was made for; null: for nobody yet
    add column for_plan text references plans (name),
    -- sealed private host key, made by drover and handed to the instance; kept
    -- until the server answers for the first time
    add column host_private_key bytea;
-- An instance is one server's.
create unique index servers_instance_id on servers (cloud, instance_id)
    where instance_id is not null and region is not null;

-- Resources that drover makes: what is the customer's. Role, password and database
-- beside them are drover's own.
alter table resources
    add column customer_role text,
    add column customer_database text,
    add column customer_password bytea,
    -- weekly: `sun 03:00 Europe/Berlin`, four hours
    add column maintenance_window text;

-- What somebody asked for and is done step by step: an open one has a token in
-- `resolve`, with its id.
create table operations (
    id text primary key check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    -- null: the deployment's own (`reconcile`)
    subject_id text references subjects (id),
    kind text not null,
    state text not null default 'open' check (state in ('open', 'done', 'cancelled')),
    -- what is wanted; never a secret
    params jsonb not null default '{}',
    -- a new password, sealed, until it is the resource's
    secret bytea,
    asked_by text not null,
    reason text,
    opened_at timestamptz not null default now(),
    -- not to be begun earlier: the maintenance window
    not_before timestamptz,
    -- counts every change of the row, so that two writers notice each other
    revision bigint not null default 0,
    step smallint not null default 0,
    steps smallint not null default 0,
    step_name text not null default 'queued',
    step_since timestamptz not null default now(),
    -- what is waited for, or went wrong last, for people
    note text,
    -- how often this step failed in a row
    failures integer not null default 0,
    -- by when it should be done; null until its first turn
    deadline timestamptz,
    -- since when a human is needed
    stuck_at timestamptz,
    -- what a step must know of the steps before it; never a secret
    memo jsonb not null default '{}',
    ended_at timestamptz,
    check ((state = 'open') = (ended_at is null))
);
-- One at a time for a subject, and one of each kind for the deployment.
create unique index operations_open on operations (coalesce(subject_id, kind))
    where state = 'open';
create index operations_subject on operations (subject_id, id desc);
create index operations_listing on operations (id desc);

create table operation_events (
    id text primary key,
    created_at timestamptz not null default clock_timestamp(),
    operation_id text not null references operations (id),
    -- asked, begun, step, waiting, failed, stuck, resumed, done, cancelled
    kind text not null,
    actor text not null,
    text text not null,
    detail jsonb not null default '{}'
);
create index operation_events_operation on operation_events (operation_id, id);
create trigger append_only before update or delete on operation_events
    for each row execute function refuse_change();
create trigger no_truncate before truncate on operation_events
    for each statement execute function refuse_change();

-- What a cloud said of its instances, for all feel workers together: they are asked
-- for many at once.
create table instance_statuses (
    cloud text not null,
    region text not null,
    instance_id text not null,
    -- when somebody set out to ask; whoever comes soon after waits for the answer
    asked_at timestamptz,
    -- the newest answer, and when it came; null: the cloud does not know it
    answered_at timestamptz,
    status jsonb,
    -- why the last question was in vain
    problem text,
    primary key (cloud, region, instance_id)
);

-- What the last reconciliation found that needs a person's eyes.
create table orphans (
    cloud text not null,
    region text not null,
    -- instance or volume
    sort text not null check (sort in ('instance', 'volume')),
    id text not null,
    -- what the cloud knows about it
    detail jsonb not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    primary key (cloud, region, id)
);

-- Answers to POSTs that bore an Idempotency-Key, for 24 hours.
create table idempotency_keys (
    key text not null,
    path text not null,
    -- of the body
    digest bytea not null,
    created_at timestamptz not null default now(),
    -- null while the first request is at work
    status smallint,
    answer jsonb,
    primary key (key, path)
);
create index idempotency_keys_created_at on idempotency_keys (created_at);
