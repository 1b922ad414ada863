# shellcheck shell=sh
# Whether the cluster may be written to. `file`: what holds, as the files have it (our own
# session's is another); `auto`: what `alter system` left there.

sql <<'SQL' || exit 5
with set as (
    select seqno, setting, sourcefile from pg_file_settings
    where name = 'default_transaction_read_only' and error is null)
select jsonb_build_object(
    'standby', pg_is_in_recovery(),
    'file', (select setting::bool from set order by seqno desc limit 1),
    'auto', (select setting from set where sourcefile like '%/postgresql.auto.conf'
             order by seqno desc limit 1))
SQL
