# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Has the old leader lead on: it was shut down in good order, and nobody else leads.

as_root rm -f -- "$d/standby.signal"
as_root pg_ctlcluster "$v" "$c" start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then exit 1; fi
echo "cluster $v/$c leads on"
