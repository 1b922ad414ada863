-- A remedy is an operation that an incident has asked for: the incident decides and
-- waits, the operation does. Until now an incident had steps of its own.

alter table operations
    -- which incident has asked for it, as which remedy, for which time; null: somebody else
    add column incident_id text references incidents (id),
    add column remedy text,
    add column attempt smallint,
    -- how pressing it is: the priority of its lane
    add column lane smallint not null default 0,
    -- whether it has begun and is its subject's turn: at most one, the others wait
    add column at_work boolean not null default false,
    drop constraint operations_state_check,
    add constraint operations_state_check
        check (state in ('open', 'done', 'cancelled', 'failed', 'skipped')),
    add constraint operations_incident check ((incident_id is null) = (remedy is null)),
    add constraint operations_at_work_open check (not at_work or state = 'open');
create index operations_incident_id on operations (incident_id, id) where incident_id is not null;
drop index operations_open;
-- What somebody asks for at once is one at a time, and of each kind there is one. What
-- waits for its window keeps nothing else off, and neither does an incident's remedy:
-- the more pressing goes first.
create unique index operations_asked on operations (coalesce(subject_id, kind))
    where state = 'open' and incident_id is null and not_before is null;
create unique index operations_asked_once on operations (coalesce(subject_id, ''), kind)
    where state = 'open' and incident_id is null;
create unique index operations_at_work on operations (coalesce(subject_id, kind)) where at_work;
create index operations_open on operations (subject_id) where state = 'open';

update operations set at_work = true where state = 'open' and deadline is not null;
update operations set lane = 20 where state = 'open' and kind = 'failover';
update operations set lane = 10 where state = 'open' and kind = 'rebuild';

alter table resolver_runs
    add column operation_id text references operations (id),
    alter column incident_id drop not null,
    alter column subject_id drop not null;
create index resolver_runs_operation on resolver_runs (operation_id, id);

-- Remedies are known by their names.
alter table incidents add column remedy_name text;
update incidents i
set remedy_name = case when i.remedy = 1000 then names.undo else names.remedies[i.remedy + 1] end
from (values
         ('resource_down', '{restart_fast,restart_immediate,fail_over,rebuild}'::text[], null),
         ('server_down', '{fail_over,reboot,stop_start}'::text[], null),
         ('disk_critical', '{read_only,remove_logs,drop_slots,grow_volume,read_only_at_last}'::text[], 'read_write'),
         ('volume_stuck', '{stop_start,reattach}'::text[], null),
         ('maintenance_scheduled', '{stop_start}'::text[], 'call_off'),
         ('follower_lagging', '{restart_receiver,restart_follower}'::text[], null),
         ('follower_stalled', '{restart_receiver,restart_follower,rebuild}'::text[], null),
         ('follower_failed', '{rewind,rebuild,rebuild_elsewhere}'::text[], null),
         ('split_brain', '{fence}'::text[], null),
         ('connections_exhausted', '{end_idle_in_transaction}'::text[], null),
         ('xid_wraparound', '{freeze}'::text[], null),
         ('archiving_stalled', '{restart_archiving}'::text[], null),
         ('credentials_refused', '{restore_login}'::text[], null)
     ) names (kind, remedies, undo)
where i.kind = names.kind and (i.attempt > 0 or i.attempts > 0);

-- What an incident has asked of an operation is its remedy from now on.
update operations o
set incident_id = i.id, remedy = i.remedy_name, attempt = i.attempt
from incidents i
where o.state = 'open' and o.asked_by = 'inc_' || i.id and i.state = 'resolving'
  and i.remedy_name in ('fail_over', 'rewind', 'rebuild', 'fence')
  and o.kind in ('failover', 'rebuild');
update operations o
set incident_id = i.id, remedy = 'stop_start', attempt = greatest(i.attempt, 1)
from incidents i
where o.state = 'open' and o.asked_by = 'inc_' || i.id
  and i.kind = 'maintenance_scheduled' and i.state <> 'resolved' and o.kind = 'stop_start';

-- A server that was stopped, or is to be, is started by an operation that goes on at the
-- step that was next. Its id is the incident's but for the end.
with half as (
    select i.*, left(i.id, 18) || upper(left(md5(i.id), 8)) as operation_id,
           case i.remedy_name when 'reattach' then 'reattach' else 'stop_start' end as does,
           case i.remedy_name
                when 'reattach' then '{mark,stop,detach,attach,start,await_running}'::text[]
                else '{mark,stop,start,await_running}'::text[] end as names
    from incidents i
    where i.state = 'resolving' and i.memo ->> 'half_done' = 'true'
      and i.kind in ('server_down', 'volume_stuck')
      and i.remedy_name in ('stop_start', 'reattach') and i.step > 0
      and not exists (select from operations o where o.subject_id = i.subject_id and o.at_work)),
opened as (
    insert into operations (id, subject_id, kind, asked_by, reason, incident_id, remedy, attempt,
                            lane, at_work, deadline, step, step_name, memo)
    select operation_id, subject_id, does, 'inc_' || id, reason, id, remedy_name, attempt,
           case kind when 'server_down' then 20 else 10 end, true, now() + interval '5 minutes',
           step, names[step + 1], jsonb_strip_nulls(jsonb_build_object('volumes', memo -> 'volumes'))
    from half
    returning id, kind, subject_id)
insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority)
select id, 'resolve', convert_to(json_build_object('operation', id)::text, 'UTF8'),
       'Pending', 0, 25, now(), 10
from opened;

-- Every other remedy that was at work is begun anew: each looks first what is done.
update incidents i
set state = 'waiting', wait_until = now(), attempt = greatest(i.attempt - 1, 0),
    attempts = greatest(i.attempts - 1, 0)
where i.state = 'resolving'
  and not exists (select from operations o
                  where o.incident_id = i.id and o.state = 'open' and o.remedy = i.remedy_name);
update incidents i
set state = 'resolving', remedy_name = 'stop_start', attempt = greatest(i.attempt, 1),
    attempts = greatest(i.attempts, 1)
where i.kind = 'maintenance_scheduled' and i.state = 'waiting'
  and exists (select from operations o where o.incident_id = i.id and o.state = 'open');

-- Of what steps have left, only what later ones need.
update incidents
set memo = jsonb_strip_nulls(jsonb_build_object(
        'undo', case when kind = 'disk_critical' then memo -> 'undo' end,
        'read_only', memo -> 'read_only', 'replacement', memo -> 'replacement'))
where state <> 'resolved';

alter table incidents drop column remedy, drop column step;
alter table incidents rename column remedy_name to remedy;
-- Nobody holds a lease over the change.
update subjects set lock_owner = null, lock_worker = null, lock_until = null
where lock_until is not null;
