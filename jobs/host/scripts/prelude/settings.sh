# shellcheck shell=sh disable=SC2154  # v, d, conf: prelude/cluster.sh
# A standby that has less of certain settings than its leader had replays nothing any more, and
# cannot be promoted. lacking prints those, `NAME = LEAST`, by what its control file knows of the
# WAL that was replayed last; match_leader has it start with them. The file's name comes behind
# those of others that set them.

lacking() {
  as_owner "/usr/lib/postgresql/$v/bin/pg_controldata" "$d" | sed -n \
    -e 's/^\(max_connections\|max_worker_processes\|max_wal_senders\) setting: */\1 /p' \
    -e 's/^max_prepared_xacts setting: */max_prepared_transactions /p' \
    -e 's/^max_locks_per_xact setting: */max_locks_per_transaction /p' |
    while read -r name least; do
      has=$(as_owner "/usr/lib/postgresql/$v/bin/postgres" -C "$name" -D "$d" \
        -c config_file="$conf/postgresql.conf" 2>/dev/null)
      case $has in '' | *[!0-9]*) continue ;; esac
      [ "$has" -ge "$least" ] || echo "$name = $least"
    done
}

match_leader() {
  lacks=$(lacking)
  [ -n "$lacks" ] || return 0
  {
    echo "# Written by drover: no less than its leader had."
    in_conf sed -n '/^max_/p' conf.d/standby.conf 2>/dev/null
    echo "$lacks"
  } | put conf.d/standby.conf 644 || return 1
  # What was set by `alter system` goes before all files.
  lacking | while read -r name _; do
    in_data sed -i "/^$name *=/d" postgresql.auto.conf || return 1
  done
}
