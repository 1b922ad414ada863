# shellcheck shell=sh
# How a follower stands, asked live: whether it is in recovery, how its receiver is, and how
# many bytes it has not replayed of what it was told of.

sql <<'SQL' || exit 1
select pg_is_in_recovery(),
    coalesce((select status from pg_stat_wal_receiver), 'none'),
    coalesce((
        select pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_replay_lsn())::bigint
        from pg_stat_wal_receiver), 0)
SQL
