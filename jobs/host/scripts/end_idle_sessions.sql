-- Ends sessions that idle in a transaction for longer than :idle_s seconds.
--
-- Chooses and ends in one statement, so that no pid can be another's by then. A role that may
-- not see or end the sessions of others chooses none; that of a superuser is ended by a
-- superuser only. Walsenders are no client backends, and drover's own sessions bear its name.

with may as (
    select current_setting('is_superuser')::bool as all_of_them,
        pg_has_role('pg_signal_backend', 'usage') and pg_has_role('pg_read_all_stats', 'usage')
            as ordinary
), idle as materialized (
    select a.pid, a.backend_start, a.usename, a.datname,
        all_of_them or ordinary and not r.rolsuper as ours
    from may, pg_stat_activity a join pg_roles r on r.oid = a.usesysid
    where a.backend_type = 'client backend'
        and a.state in ('idle in transaction', 'idle in transaction (aborted)')
        and a.state_change < clock_timestamp() - interval '1 second' * :idle_s
        and a.pid <> pg_backend_pid()
        and a.application_name not in ('drover', 'drover_freeze')
), ended as materialized (
    select *, pg_terminate_backend(pid) as gone from idle where ours
)
select jsonb_build_object(
    'may', (select ordinary or all_of_them from may),
    'ended', (select count(*) from ended where gone),
    'of', (
        select coalesce(jsonb_agg(format('%s in %s: %s', usename, datname, n)), '[]')
        from (
            select usename, datname, count(*) as n from ended where gone
            group by 1, 2 order by 3 desc limit 6) each_of),
    'not_ours', (select count(*) from idle where not ours),
    'used', (
        select count(*) from pg_stat_activity a
        where (backend_type = 'client backend' or backend_type is null and datid is not null)
            and pid <> pg_backend_pid()
            and not exists (select from ended e where gone and e.pid = a.pid)),
    'allowed', current_setting('max_connections')::int,
    'reserved', current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int,
    'held_by', (
        select left(string_agg(
            format('%s in %s, %s: %s', usename, datname, coalesce(state, '?'), n), ', '
            order by n desc), 500)
        from (
            select usename, datname, state, count(*) as n
            from pg_stat_activity a
            where backend_type = 'client backend' and pid <> pg_backend_pid()
                and not exists (select from ended e where gone and e.pid = a.pid)
            group by 1, 2, 3 order by 4 desc limit 6) most))
