# shellcheck shell=sh
# The receiver's word.

sql <<'SQL' || exit 1
select json_build_object('status',
    coalesce((select status from pg_stat_wal_receiver), 'not running'))
SQL
