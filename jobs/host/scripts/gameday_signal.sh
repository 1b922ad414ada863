# shellcheck shell=sh
# Sends signal $2 to what prelude/gameday_clusters.sh has found. A process that is just being
# started is met in the next round.

n=0 i=0
while [ $i -lt 40 ]; do
  p=$(pids)
  [ -n "$p" ] || break
  # shellcheck disable=SC2086  # a word for each
  set -- "$1" "$2" $p
  if [ $i = 0 ] || [ "$2" != KILL ]; then n=$(($# - 2)); fi
  # shellcheck disable=SC2086  # a word for each
  as_root kill -s "$2" $p 2>/dev/null
  i=$((i + 1))
  if [ "$2" != KILL ] && [ $i -ge 3 ]; then break; fi
  sleep 0.05
done
if [ $n = 0 ] && [ "$2" != CONT ]; then
  echo "nothing of PostgreSQL runs there"
  exit 5
fi
if [ "$2" = KILL ] && [ -n "$(pids)" ]; then
  echo "something survives SIGKILL"
  exit 5
fi
echo "SIG$2 to $n processes"
