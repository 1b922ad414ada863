# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Restarts a follower's cluster. One at a time, as the lock on the data directory has it;
# what each part may take adds up to less than the step's limit. A cluster that leads is not
# touched (3).

as_root test -e "$d/standby.signal" || { echo "cluster $v/$c is no standby"; exit 3; }
exec 9<"$d"
flock -w 1 9 || { echo "another restart is at work"; exit 6; }
if [ -n "$(alive)" ]; then
  as_root timeout 8 pg_ctlcluster "$v" "$c" stop -m fast >/dev/null 2>&1 9<&-
  [ -z "$(alive)" ] || as_root timeout 4 pg_ctlcluster "$v" "$c" stop -m immediate >/dev/null 2>&1 9<&-
  [ -z "$(alive)" ] || { echo "cluster $v/$c does not stop"; exit 4; }
fi
out=$(as_root timeout 9 pg_ctlcluster "$v" "$c" start 2>&1 9<&-)
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then
  printf '%s\n' "${out:-it does not start}" | tail -n 1
  exit 5
fi
echo "cluster $v/$c is restarted"
