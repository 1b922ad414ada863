# shellcheck shell=sh
# Has the cluster's transactions be read-only, and ends the sessions that are just writing:
# what has begun before would go on. Where there is no room to write that down, the reserve
# gives some.

until said=$(sql -v VERBOSITY=verbose -c 'alter system set default_transaction_read_only = on' 2>&1); do
  # Whatever language it speaks.
  case $said in
    *' 53100: '*) give_room && continue ;;
  esac
  printf '%s\n' "$said" | head -n 1
  exit 5
done
sql -c 'select pg_reload_conf()' 2>&1 || exit 5
sql <<'SQL' 2>&1 || exit 5
select count(pg_terminate_backend(pid)) from pg_stat_activity
where backend_xid is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
SQL
