# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Restarts the cluster. $2 is the postmaster to be ended; empty: there was none. Another one
# is the work of a turn that was cut off.
#
# One at a time: a worker's end does not end its script. The lock is on the data directory,
# and is not handed on to what is started. Stop and start are two commands: pg_ctlcluster
# refuses its owner the restart of a cluster that systemd started.

now=$(postmaster)
if [ -n "$now" ] && [ "$now" != "$2" ]; then
  echo "was restarted already"
  exit 0
fi
# shellcheck disable=SC2016  # the inner shell expands it
out=$(mine flock -n -E 75 -o "$d" sh -c '
  timeout 14 pg_ctlcluster "$1" "$2" stop -m fast 2>&1
  case $? in
    0 | 2) ;;
    124) exit 76 ;;
    *) exit 5 ;;
  esac
  timeout 7 pg_ctlcluster "$1" "$2" start 2>&1' drover "$v" "$c")
status=$?
now=$(postmaster)
if [ -n "$now" ] && [ "$now" != "$2" ]; then
  echo "is restarted"
  exit 0
fi
[ $status -eq 75 ] && { echo "another restart is at work"; exit 75; }
[ $status -eq 76 ] && { echo "it is shutting down"; exit 75; }
echo "${out:-nothing runs, and pg_ctlcluster ended with $status}"
exit 5
