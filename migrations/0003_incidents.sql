-- What is wrong, what was done about it, and who was told.

create table incidents (
    id text primary key check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    -- null: the herd's own (`blind`)
    subject_id text references subjects (id),
    kind text not null,
    state text not null check (state in
        ('triggered', 'resolving', 'waiting', 'needs_human', 'resolved')),
    state_since timestamptz not null default now(),
    -- counts every change of the row, so that two writers notice each other
    revision bigint not null default 0,
    -- what is wrong, for people; the newest word on it
    reason text not null,
    opened_at timestamptz not null default now(),
    -- the playbook's clock: by when drover gives up and a human is asked
    deadline timestamptz,
    -- which remedy is next or at work, by its place in the playbook; which of
    -- its steps; how often it was tried; how often anything was tried
    remedy smallint not null default 0,
    step smallint not null default 0,
    attempt smallint not null default 0,
    attempts integer not null default 0,
    -- until when a remedy's effect is waited for
    wait_until timestamptz,
    -- when the last remedy ended: only what was seen later speaks of its effect
    acted_at timestamptz,
    -- what a step must know of the steps before it; never a secret
    memo jsonb not null default '{}',
    -- why nothing is done just now, if so: held, advised, covered, blind …
    resting text,
    reopened smallint not null default 0,
    acknowledged_at timestamptz,
    acknowledged_by text,
    held_at timestamptz,
    paged_at timestamptz,
    ticketed_at timestamptz,
    resolved_at timestamptz,
    resolved_by text check (resolved_by in ('observation', 'operator', 'forgotten')),
    check ((state = 'resolved') = (resolved_at is not null)),
    check ((resolved_at is null) = (resolved_by is null))
);
-- One open incident per subject and kind.
create unique index incidents_open on incidents (coalesce(subject_id, ''), kind)
    where state <> 'resolved';
create index incidents_subject on incidents (subject_id, kind, opened_at desc);
-- The last one of a subject and kind, open or not.
create index incidents_last on incidents (coalesce(subject_id, ''), kind, resolved_at desc);
create index incidents_listing on incidents (id desc);

create table incident_events (
    id text primary key,
    created_at timestamptz not null default clock_timestamp(),
    incident_id text not null references incidents (id),
    -- opened, reopened, attempt, step, passed_over, failed, advised, resting,
    -- resumed, escalated, acknowledged, held, released, retried, resolved, message
    kind text not null,
    -- a worker's name, or who asked through the API
    actor text not null,
    -- for people
    text text not null,
    detail jsonb not null default '{}'
);
create index incident_events_incident on incident_events (incident_id, id);

-- What resolvers did: one row when a step begins and one when it ends. A step
-- that has begun and not ended was cut off; its successor says so.
create table resolver_runs (
    id text primary key,
    created_at timestamptz not null default clock_timestamp(),
    incident_id text not null references incidents (id),
    subject_id text not null references subjects (id),
    -- the same in both rows of a step
    run_id text not null,
    phase text not null check (phase in ('begun', 'ended')),
    worker text not null,
    fence bigint not null,
    resolver text not null,
    remedy text not null,
    step text not null,
    attempt smallint not null,
    -- done, again, passed_over, failed; null where it begins
    outcome text,
    -- what it touched in the world: `cluster 15/app on pg-1`
    touched text[] not null default '{}',
    detail text,
    check ((phase = 'ended') = (outcome is not null))
);
create index resolver_runs_incident on resolver_runs (incident_id, id);
create index resolver_runs_subject on resolver_runs (subject_id, id);
create unique index resolver_runs_phase on resolver_runs (run_id, phase);

create trigger append_only before update or delete on incident_events
    for each row execute function refuse_change();
create trigger append_only before update or delete on resolver_runs
    for each row execute function refuse_change();
create trigger no_truncate before truncate on incident_events
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on resolver_runs
    for each statement execute function refuse_change();

-- Whose turn the lease is in: null between two turns of the incident that
-- `lock_owner` names, the worker's name during one.
alter table subjects add column lock_worker text;

-- Messages to people, written with what they tell of and sent by `notify`.
create table outbox (
    id text primary key check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    -- the order of one incident's messages: ids are made by machines whose clocks
    -- may differ
    seq bigint generated always as identity,
    created_at timestamptz not null default now(),
    incident_id text not null references incidents (id),
    -- whom it is for: the one on call, or the customer
    channel text not null check (channel in ('page', 'ticket')),
    action text not null check (action in ('trigger', 'acknowledge', 'resolve')),
    severity text not null check (severity in ('critical', 'error', 'warning', 'info')),
    summary text not null,
    detail jsonb not null default '{}',
    state text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    attempts integer not null default 0,
    -- since when it waits: written, or sent anew by an operator
    waiting_since timestamptz not null default now(),
    -- since when it is tried in vain
    trying_since timestamptz,
    -- what the last attempt met with; never a secret
    last_error text,
    -- what delivered it: pagerduty, webhook, zendesk, log
    delivered_by text,
    -- what the other side calls it (a ticket's number, a dedup_key)
    reference text,
    settled_at timestamptz,
    check ((state = 'pending') = (settled_at is null))
);
create index outbox_incident on outbox (incident_id, channel, seq);
create index outbox_open on outbox (state, id) where state <> 'delivered';

-- Calls made to each provider, for its limit of calls a minute. Pruned.
create table provider_calls (
    provider text not null,
    at timestamptz not null default clock_timestamp()
);
create index provider_calls_at on provider_calls (provider, at);

-- What resolvers may do: the most cautious of the herd's, the tier's and the
-- subject's own mode holds. No row means `act`.
create table modes (
    -- herd, tier:<name>, subject:<id>
    scope text primary key check (scope ~ '^(herd|tier:.+|subject:.+)$'),
    mode text not null check (mode in ('act', 'advise', 'hold')),
    reason text not null,
    set_at timestamptz not null default now()
);

-- The catalogue, as the newest `resolve` worker knows it.
create table resolvers (
    kind text primary key,
    playbook jsonb not null,
    release text not null,
    published_at timestamptz not null default now()
);
