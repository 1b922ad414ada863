# shellcheck shell=sh disable=SC2154  # d, q, s, port, u, b, settings: prelude/superuser.sh
# Has freeze_tables.sh, the text $4, run detached: $2 is the age from which on a table is
# frozen, $3 the time limit in seconds. The lock is the cluster's own file, so that
# a second one ends without effect whoever started it, and a killed one holds it no longer.
# It waits a while for the lock, because who looks at it holds it for a moment.

# The subshell keeps no descriptor of ours open: sshd waits until all are closed, and so would
# the next word, for hours. What is frozen stays right whoever leads.
# shellcheck disable=SC2016  # the owner's shell expands it
(
  as_owner sh -c 'trap "" HUP; exec setsid flock -w 5 "$1" timeout "$3" sh -c "$2" drover_freeze "$@"' \
    drover_freeze "$d/PG_VERSION" "$4" "$3" "$2" "$q" "$s" "$port" "$u" "$b" "$settings"
) </dev/null >/dev/null 2>&1 3<&- 9<&- &

n=30
while as_owner flock -n "$d/PG_VERSION" true 2>/dev/null; do
  n=$((n - 1))
  [ $n -gt 0 ] || break
  sleep 0.1
done
if [ $n -gt 0 ]; then echo '{"started":true}'; else echo '{"started":false}'; fi
