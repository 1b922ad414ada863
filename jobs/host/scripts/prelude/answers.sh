# shellcheck shell=sh disable=SC2154  # v: prelude/cluster.sh; pids: prelude/processes.sh
# answers PORT CAUSE, from inside, past TLS, firewalls and whatever else lies between drover
# and the database: 0 if it accepts connections, 1 if it will (it starts, or recovers, which
# a restart only begins anew), 2 if it does not answer.
#
# One that shuts down refuses as one that starts does, and may do so for ever: it counts as
# silent, and so does one that a signal has frozen, which no signal but the last one
# reaches. Its lock file tells them apart; before PostgreSQL 10 only what drover was told
# itself (CAUSE) does.

frozen() {
  p=$(lock_line 1)
  works "$p" || return 1
  case $(as_owner ps -o stat= -p "$p" 2>/dev/null) in
    T*) return 0 ;;
  esac
  return 1
}

answers() {
  alive || return 2
  ! frozen || return 2
  s=$(lock_line 5)
  [ -n "$s" ] || s=$(lock_line 6)
  case $s in
    '') return 2 ;;
    '*' | 0.0.0.0 | ::) s=localhost ;;
  esac
  q=/usr/lib/postgresql/$v/bin/pg_isready
  [ -x "$q" ] || q=pg_isready
  as_owner timeout 4 "$q" -q -t 3 -h "$s" -p "$1" >/dev/null 2>&1
  case $? in
    0) return 0 ;;
    1) ;;
    *) return 2 ;;
  esac
  case $(lock_line 8) in
    stopping*) return 2 ;;
    '') [ "$2" != shutting_down ] || return 2 ;;
  esac
  return 1
}
