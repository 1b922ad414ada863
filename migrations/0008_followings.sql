-- Whom a resource has followed, and when: what thinking goes by has to be known of any
-- moment of the past.

create table followings (
    id bigint generated always as identity primary key,
    resource_id text not null references resources (id),
    since timestamptz not null default clock_timestamp(),
    -- null: it leads
    leader_id text,
    epoch bigint not null,
    max_lag_bytes bigint not null
);
create index followings_resource on followings (resource_id, since desc, id desc);

create trigger append_only before update or delete on followings
    for each row execute function refuse_change();
create trigger no_truncate before truncate on followings
    for each statement execute function refuse_change();

insert into followings (resource_id, since, leader_id, epoch, max_lag_bytes)
select r.id, s.created_at, r.leader_id, r.epoch, r.max_lag_bytes
from resources r join subjects s using (id);

-- By the database, so that nobody who changes a leader can forget it.
create function note_following() returns trigger language plpgsql as $$
begin
    insert into followings (resource_id, leader_id, epoch, max_lag_bytes)
    values (new.id, new.leader_id, new.epoch, new.max_lag_bytes);
    return null;
end $$;
create trigger following_begins after insert on resources
    for each row execute function note_following();
create trigger following_changes after update of leader_id, epoch, max_lag_bytes on resources
    for each row
    when ((old.leader_id, old.epoch, old.max_lag_bytes)
          is distinct from (new.leader_id, new.epoch, new.max_lag_bytes))
    execute function note_following();
