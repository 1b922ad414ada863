# shellcheck shell=sh
# How a follower stands: whether it is in recovery, how far it has received and replayed, on
# which timeline, and how long ago it heard from its leader.

sql <<'SQL' || exit 1
select pg_is_in_recovery(),
    coalesce(pg_last_wal_receive_lsn()::text, ''),
    coalesce(pg_last_wal_replay_lsn()::text, ''),
    greatest(
        (select timeline_id from pg_control_checkpoint()),
        (select min_recovery_end_timeline from pg_control_recovery()),
        coalesce((select received_tli from pg_stat_wal_receiver), 0)),
    coalesce((
        select extract(epoch from clock_timestamp() - last_msg_receipt_time)::text
        from pg_stat_wal_receiver where status = 'streaming'), '')
SQL
