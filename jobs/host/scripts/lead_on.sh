# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Has the old leader lead on, which was shut down or fenced: nobody else leads.

let_in || exit 1
lead
ctl 300 start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then exit 1; fi
echo "cluster $v/$c leads on"
