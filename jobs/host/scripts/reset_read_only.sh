# shellcheck shell=sh
# Lets the cluster be written to again, and puts the reserve back. $2 is what is to stand there
# again; empty: nothing.
# Where it is not on any more, somebody has changed it since, and it is his.

keep_reserve
on=$(sql <<'SQL'
select coalesce((select setting::bool from pg_file_settings
    where name = 'default_transaction_read_only' and error is null
      and sourcefile like '%/postgresql.auto.conf'
    order by seqno desc limit 1), false)
SQL
) || exit 5
[ "$on" = t ] || { echo 'is not set any more'; exit 0; }

if [ -n "$2" ]; then
  sql -v setting="$2" <<'SQL' 2>&1 || exit 5
alter system set default_transaction_read_only = :'setting'
SQL
else
  sql -c 'alter system reset default_transaction_read_only' 2>&1 || exit 5
fi
sql -c 'select pg_reload_conf()' >/dev/null 2>&1 || exit 5
echo 'can be written to'
