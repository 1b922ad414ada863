# shellcheck shell=sh disable=SC2154  # own_timeline: prelude/timeline.sh
# How a follower stands: whether it is in recovery, how far it has received and replayed, on
# which timeline, whether it is told to follow the one at $2 port $3, and how long ago it heard
# from its leader.

sql -v host="$2" -v port="$3" -v timeline="$own_timeline" <<'SQL' || exit 1
select pg_is_in_recovery(),
    coalesce(pg_last_wal_receive_lsn()::text, ''),
    coalesce(pg_last_wal_replay_lsn()::text, ''),
    :timeline,
    position(
        ' host=' || :'host' || ' port=' || :'port' || ' '
        in ' ' || current_setting('primary_conninfo') || ' ') > 0,
    coalesce((
        select extract(epoch from clock_timestamp() - last_msg_receipt_time)::text
        from pg_stat_wal_receiver where status = 'streaming'), '')
SQL
