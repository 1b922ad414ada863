# shellcheck shell=sh
# Whether the cluster may be written to, and what it holds. `file`: what holds, as the files
# have it (our own session's is another); `auto`: what `alter system` left there; `bytes`:
# databases, WAL and temporary files, null where that takes too long to count.

bytes=$(sql <<'SQL' 2>/dev/null
set statement_timeout = '4s';
select (select coalesce(sum(pg_database_size(oid)), 0) from pg_database)
    + (select coalesce(sum(size), 0) from pg_ls_waldir())
    + (select coalesce(sum(size), 0) from pg_tablespace t, pg_ls_tmpdir(t.oid)
        where spcname <> 'pg_global')
SQL
) || bytes=
sql -v bytes="${bytes:-null}" <<'SQL' || exit 5
with set as (
    select seqno, setting, sourcefile from pg_file_settings
    where name = 'default_transaction_read_only' and error is null)
select jsonb_build_object(
    'standby', pg_is_in_recovery(),
    'bytes', :bytes,
    'file', (select setting::bool from set order by seqno desc limit 1),
    'auto', (select setting from set where sourcefile like '%/postgresql.auto.conf'
             order by seqno desc limit 1))
SQL
