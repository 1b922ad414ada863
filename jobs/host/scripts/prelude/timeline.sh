# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# $own_timeline is SQL for the timeline of a cluster's WAL. Its control file may be a checkpoint
# late about it; the files that it receives or writes WAL into are not.

own_timeline="greatest(
    (select timeline_id from pg_control_checkpoint()),
    (select min_recovery_end_timeline from pg_control_recovery()),
    (select max(('x' || left(name, 8))::bit(32)::int)
     from pg_ls_waldir() where name ~ '^[0-9A-F]{24}\$'))"
