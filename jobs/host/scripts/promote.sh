# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; own_timeline: timeline.sh
# Promotes the cluster, unless it leads already, lets clients in, and proves that it writes. Its
# standby settings go, so that no restart makes it a follower again; $3 is what its start.conf
# says from before it leads; $4, if it is there, what its commits wait for from the first one on.
#
# $2 is the number of the timeline that it is to begin. Those between its own and that one may
# be another's who led, or was to lead: PostgreSQL takes the first number of which it has no
# history, so it is shown one of each, in which nothing is told.
#
# It may take as long as there is something to replay: 75 says so. One that has to be restarted
# first, for it has less of certain settings than its leader had, is left as it is (6). Tells the
# `timeline` that it leads on.

# in_recovery also ends what holds replay up: who reads from a standby is served by the leader
# again.
in_recovery() {
  sql <<'SQL' | sed 's/|.*//'
select pg_is_in_recovery(), (
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()
      and exists (select from pg_stat_activity
                  where backend_type = 'startup'
                    and (wait_event like 'RecoveryConflict%'
                         or wait_event_type in ('Lock', 'BufferPin'))))
SQL
}

# stands prints its timeline, how far it has replayed, and whether that is held up.
stands() {
  sql -c "select $own_timeline, pg_last_wal_replay_lsn(), pg_get_wal_replay_pause_state()" </dev/null
}

pass_over() {
  # shellcheck disable=SC2016  # the owner's shell expands it
  in_data sh -c '
    n=$(($1 + 1))
    while [ "$n" -lt "$2" ]; do
      h=$(printf "pg_wal/%08X.history" "$n")
      if [ ! -e "$h" ]; then
        echo "# Written by drover: this number may be the timeline of another node." >"$h.new" &&
          sync -- "$h.new" &&
          mv -fT -- "$h.new" "$h" || exit 1
      fi
      n=$((n + 1))
    done
    sync -- pg_wal' pass_over "$1" "$2"
}

up() { cut -d. -f1 /proc/uptime; }

if [ "$(in_recovery)" = t ]; then
  stands=$(stands) || exit 1
  IFS='|' read -r own before pause <<END
$stands
END
  echo "$3" | put start.conf 644 && pass_over "$own" "$2" || exit 1
  lacks=
  # So PostgreSQL calls one that replays nothing for that, too.
  [ "$pause" != paused ] || lacks=$(lacking | tr '\n' ' ')
  [ -z "$lacks" ] || { echo "its leader had more: $lacks"; exit 6; }
  [ $# -lt 4 ] || wait_for "$4"
  sql -o /dev/null -c 'select pg_promote(false)' </dev/null || exit 1
  end=$(($(up) + 8))
  while [ "$(in_recovery)" = t ] && [ "$(up)" -lt "$end" ]; do
    sleep 0.05
  done
  if [ "$(in_recovery)" = t ]; then
    at=$(sql -c 'select pg_last_wal_replay_lsn()' </dev/null)
    [ "$at" != "$before" ] || { echo "it is still in recovery, and replays nothing"; exit 1; }
    echo "it replays what it has received, and is at $at"
    exit 75
  fi
fi
[ "$(in_recovery)" = f ] || { echo "it does not say whether it leads"; exit 1; }
let_in && in_conf rm -f conf.d/follower.conf || exit 1
sql -o /dev/null -c "select pg_reload_conf()" -c "select txid_current()" </dev/null || exit 1
led=$(sql -c "select $own_timeline" </dev/null)
[ -n "$led" ] || { echo "it leads, and does not say on which timeline"; exit 1; }
tell timeline "$led"
echo "cluster $v/$c leads"
