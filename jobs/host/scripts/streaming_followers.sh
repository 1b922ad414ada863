# shellcheck shell=sh
# The followers that stream, as their leader sees them.

sql <<'SQL' || exit 1
select application_name from pg_stat_replication where state = 'streaming'
SQL
