# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; pids: prelude/processes.sh
# Restarts the cluster of port $1. $2 is the stop mode, $3 the server's clock before the
# attempt, $4 why drover could not get in, $5 what it is by the record: `leader` or `follower`;
# empty, it is an adopted one, which starts as it is. A postmaster that was started since is
# the work of a turn that was cut off. One that answers is not touched, whatever `look` has
# found.
#
# Status 4: it cannot be stopped; 5: it does not start; 7: it accepts connections; 8: it will.
#
# PostgreSQL takes a killed postmaster for alive until init has reaped it, and refuses to
# start; where no process works in the data directory, its lock files are stale. With one
# there they stay: two postmasters would destroy the data. Whoever cannot see other people's
# processes cannot tell, and touches nothing.
#
# What each part may take adds up to less than the step's limit.

# A start that is yet to come was by a clock that has been set back since.
started=$(lock_line 3)
case $started in *[!0-9]*) started= ;; esac
if alive && [ -n "$started" ] && [ "$started" -ge "$3" ] && [ "$started" -le "$(date +%s)" ]; then
  echo "was started already"
  exit 0
fi
answers "$1" "$4"
case $? in
  0) exit 7 ;;
  1) exit 8 ;;
esac

# No signal but the last one reaches one that is frozen.
stop() {
  if ! frozen; then
    ctl 5 stop "$1" >/dev/null 2>&1
    if gone 10; then return; fi
    [ "$1" = immediate ] || { echo "it does not stop"; exit 4; }
  fi
  # shellcheck disable=SC2086  # a word for each
  signal KILL $pids
  gone 20 || { echo "it survives SIGKILL: a process hangs in the kernel"; exit 4; }
}
if alive; then stop "$2"; fi

if in_data test -e postmaster.pid && ! alive; then
  port=$(lock_line 4)
  sockets=$(lock_line 5)
  in_data rm -f postmaster.pid
  if [ -n "$sockets" ] && [ -n "$port" ]; then
    as_owner rm -f -- "$sockets/.s.PGSQL.$port" "$sockets/.s.PGSQL.$port.lock"
  fi
fi

be_what_it_is "$5" || { echo "it cannot be made what it is by the record"; exit 5; }
out=$(ctl 8 start 2>&1)
status=$?
[ $status -eq 0 ] && { echo "started"; exit 0; }
[ $status -eq 2 ] && { echo "runs already"; exit 0; }
[ $status -eq 124 ] && alive && { echo "is starting"; exit 0; }
# Of what a failed start says, the postmaster's own reason is passed on.
why=$(printf '%s\n' "$out" |
  grep -aE '(FATAL|PANIC): |could not (open|read|find|access|create|load|bind|write)' |
  grep -vF 'near token' | tail -n 1 | sed -E 's/^.*(FATAL|PANIC):  *//')
printf '%s\n' "${why:-$out}"
exit 5
