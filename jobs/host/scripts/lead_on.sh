# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Has the old leader lead on: it was shut down in good order, and nobody else leads.

lead
ctl 300 start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then exit 1; fi
echo "cluster $v/$c leads on"
