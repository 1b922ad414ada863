# shellcheck shell=sh
# How a follower stands: whether it is in recovery, how far it has received and replayed, on
# which timeline, whether it is told to follow the one at $2 port $3, and how long ago it heard
# from its leader. Its control file may be a checkpoint late about the timeline; the files that
# it receives WAL into are not.

sql -v host="$2" -v port="$3" <<'SQL' || exit 1
select pg_is_in_recovery(),
    coalesce(pg_last_wal_receive_lsn()::text, ''),
    coalesce(pg_last_wal_replay_lsn()::text, ''),
    greatest(
        (select timeline_id from pg_control_checkpoint()),
        (select min_recovery_end_timeline from pg_control_recovery()),
        (select max(('x' || left(name, 8))::bit(32)::int)
         from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$')),
    position(
        ' host=' || :'host' || ' port=' || :'port' || ' '
        in ' ' || current_setting('primary_conninfo') || ' ') > 0,
    coalesce((
        select extract(epoch from clock_timestamp() - last_msg_receipt_time)::text
        from pg_stat_wal_receiver where status = 'streaming'), '')
SQL
