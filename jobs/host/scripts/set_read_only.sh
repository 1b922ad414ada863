# shellcheck shell=sh
# Has the cluster's transactions be read-only. Where there is no room to write that down, the
# reserve gives some.

until said=$(sql -c 'alter system set default_transaction_read_only = on' 2>&1); do
  case $said in
    *'No space left on device'*) give_room && continue ;;
  esac
  printf '%s\n' "$said"
  exit 5
done
sql -c 'select pg_reload_conf()' 2>&1 || exit 5
