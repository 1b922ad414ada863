# shellcheck shell=sh
# What start_freezing.sh runs as the cluster's owner. The arguments are its own, from the
# lock on: the lock, this text, the time limit in seconds, the age, psql, the socket's
# directory, the port, the superuser, a database, and the settings of a session.
#
# Tables are vacuumed one by one, oldest first; a table that fails or is locked is passed
# over. A TOAST table goes with its own.

end=$(($(cut -d. -f1 /proc/uptime) + $3))
old=$4 q=$5 s=$6 port=$7 u=$8 b=$9
shift 9
settings="$1 -c lock_timeout=30s -c vacuum_cost_delay=2 -c vacuum_cost_limit=2000"

# run DATABASE runs the SQL that it reads, for as long as there is time.
run() {
  left=$((end - $(cut -d. -f1 /proc/uptime)))
  [ $left -gt 0 ] || exit 0
  env PGDATABASE="$1" PGAPPNAME=drover_freeze PGCONNECT_TIMEOUT=10 \
    PGOPTIONS="-c statement_timeout=${left}s $settings" \
    "$q" -XqAtw -v old="$old" -h "$s" -p "$port" -U "$u"
}

oldest_tables() {
  cat <<'SQL'
select format('vacuum (freeze%s) %I.%I',
    case when current_setting('server_version_num')::int >= 120000 then ', truncate off' end,
    n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_class t on t.oid = c.reltoastrelid
cross join lateral (
    select greatest(age(c.relfrozenxid), age(nullif(t.relfrozenxid, '0')),
        mxid_age(c.relminmxid), mxid_age(nullif(t.relminmxid, '0'))) as age) ids
where c.relkind in ('r', 'm') and c.relpersistence <> 't'
    and ids.age > :old
order by ids.age desc
\gexec
SQL
}

run "$b" <<'SQL' | while IFS= read -r name; do oldest_tables | run "$name"; done
select datname from pg_database
where datallowconn and greatest(age(datfrozenxid), mxid_age(datminmxid)) > :old
    and datname !~ '[\r\n]'
order by greatest(age(datfrozenxid), mxid_age(datminmxid)) desc;
SQL
