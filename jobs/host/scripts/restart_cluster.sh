# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; now: prelude/postmaster.sh
# Restarts the cluster. $2 is the postmaster to be ended; empty: there was none. Another one
# is the work of a turn that was cut off. $3 is what it is by the record: `leader` or
# `follower`; empty, it is an adopted one, which starts as it is.
#
# Stop and start are two commands: pg_ctlcluster refuses its owner the restart of a cluster
# that systemd started.

find_postmaster
if [ -n "$now" ] && [ "$now" != "$2" ]; then
  echo "was restarted already"
  exit 0
fi
out=$(ctl 14 stop fast 2>&1)
status=$?
case $status in
  0 | 2)
    be_what_it_is "$3" || { echo "it cannot be made what it is by the record"; exit 5; }
    out=$(ctl 7 start 2>&1)
    status=$?
    ;;
  124) status=stops ;;
esac
find_postmaster
if [ -n "$now" ] && [ "$now" != "$2" ]; then
  echo "is restarted"
  exit 0
fi
[ "$status" = stops ] && { echo "it is shutting down"; exit 75; }
echo "${out:-nothing runs, and pg_ctlcluster ended with $status}"
exit 5
