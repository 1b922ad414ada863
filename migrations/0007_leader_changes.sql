-- Changes of leader, and messages that tell of them.

create table leader_changes (
    id text primary key check (id ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
    -- the order in which they were committed; ids are made by machines whose clocks
    -- may differ
    seq bigint generated always as identity,
    created_at timestamptz not null default clock_timestamp(),
    kind text not null check (kind in ('switchover', 'failover', 'unfollow')),
    new_leader_id text not null references resources (id),
    -- who led it until then
    old_leader_id text not null references resources (id),
    -- what the new leader is called from then on
    name text not null,
    -- the new leader's from then on
    epoch bigint not null,
    -- where both were reached then
    new_address text not null,
    new_port int not null,
    old_address text not null,
    old_port int not null,
    operation_id text not null references operations (id),
    -- lost_bytes, fenced_by …; never a secret
    detail jsonb not null default '{}'
);
create unique index leader_changes_seq on leader_changes (seq);
create index leader_changes_new on leader_changes (new_leader_id, seq desc);
create index leader_changes_old on leader_changes (old_leader_id, seq desc);

create trigger append_only before update or delete on leader_changes
    for each row execute function refuse_change();
create trigger no_truncate before truncate on leader_changes
    for each statement execute function refuse_change();

-- A message tells of an incident or of a change of leader.
alter table outbox
    alter column incident_id drop not null,
    add column leader_change_id text references leader_changes (id),
    -- messages of one thread to the same people are sent in the order of `seq`: an
    -- incident's; those on the leaders that bore one name
    add column thread text;
update outbox set thread = incident_id;
alter table outbox
    alter column thread set not null,
    add constraint outbox_of_one check ((incident_id is null) <> (leader_change_id is null)),
    drop constraint outbox_channel_check,
    add constraint outbox_channel_check check (channel in ('page', 'ticket', 'event'));
create index outbox_thread on outbox (thread, channel, seq);
