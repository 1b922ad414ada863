# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh
# How it stands with the transaction ids, on one line; $2 is the age from which on a
# database is old. `running` is whether freezing is under way: the runner holds a lock on the
# cluster, and what it began outlives it by at most its time limit. What a session or a slot
# may still see is not frozen.

lock=$d/PG_VERSION
as_owner flock -E 75 -n "$lock" true
case $? in
  0) running=false ;;
  75) running=true ;;
  *) echo "flock cannot lock $lock" >&2; exit 5 ;;
esac

sql -v old="$2" -v locked=$running <<'SQL' || exit 5
with holds as (
    select age(transaction) as age,
        format('prepared transaction %L of %s in %s, since %s', gid, owner, database,
            date_trunc('second', prepared)) as what
    from pg_prepared_xacts
    union all
    select greatest(age(xmin), age(catalog_xmin)), format('replication slot %s%s', slot_name,
        case when active then '' else ' (inactive)' end)
    from pg_replication_slots where coalesce(xmin, catalog_xmin) is not null
    union all
    select greatest(age(backend_xid), age(backend_xmin)),
        format('%s %s of %s, in a transaction since %s', backend_type, pid, usename,
            date_trunc('second', xact_start))
    from pg_stat_activity
    where coalesce(backend_xid, backend_xmin) is not null and pid <> pg_backend_pid()
        and application_name <> 'drover_freeze' and backend_type <> 'autovacuum worker'
), databases as (
    select datname, datallowconn,
        greatest(age(datfrozenxid), mxid_age(datminmxid)) as age
    from pg_database
)
select jsonb_build_object(
    'in_recovery', pg_is_in_recovery(),
    'running', :'locked'::bool
        or exists (select from pg_stat_activity where application_name = 'drover_freeze'),
    'progress', (
        select string_agg(format('%s in %s, %s of %s blocks', phase, p.datname,
            heap_blks_scanned, heap_blks_total), '; ')
        from pg_stat_progress_vacuum p join pg_stat_activity a using (pid)
        where a.application_name = 'drover_freeze'),
    'age', (select max(age) from databases where datallowconn),
    'database', (select datname from databases where datallowconn order by age desc limit 1),
    'closed', (
        select left(string_agg(datname, ', '), 200) from databases
        where not datallowconn and age > :old),
    'held_at', (select coalesce(max(age), 0) from holds),
    'held_by', (
        select left(string_agg(what, '; ' order by age desc), 800)
        from (select * from holds where age > :old order by age desc limit 5) oldest))
SQL
