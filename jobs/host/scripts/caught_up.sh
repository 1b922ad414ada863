# shellcheck shell=sh
# Whether all up to $2 is replayed.

sql -v lsn="$2" <<'SQL' || exit 1
select pg_wal_lsn_diff(pg_last_wal_replay_lsn(), :'lsn') >= 0;
SQL
