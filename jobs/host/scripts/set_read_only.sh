# shellcheck shell=sh
# Has the cluster's transactions be read-only.

sql -c 'alter system set default_transaction_read_only = on' 2>&1 || exit 5
sql -c 'select pg_reload_conf()' 2>&1 || exit 5
