# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Restarts a follower's cluster. What each part may take adds up to less than the step's
# limit. A cluster that leads is not touched (3).

is_standby || { echo "cluster $v/$c is no standby"; exit 3; }
if alive; then
  ctl 8 stop fast >/dev/null 2>&1
  ! alive || ctl 4 stop immediate >/dev/null 2>&1
  ! alive || { echo "cluster $v/$c does not stop"; exit 4; }
fi
match_leader || { echo "it cannot be given its leader's settings"; exit 5; }
out=$(ctl 9 start 2>&1)
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then
  printf '%s\n' "${out:-it does not start}" | tail -n 1
  exit 5
fi
echo "cluster $v/$c is restarted"
