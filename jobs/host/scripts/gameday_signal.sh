# shellcheck shell=sh disable=SC2154  # pids: prelude/processes.sh
# Sends signal $2 to what PostgreSQL runs in the clusters of prelude/gameday_clusters.sh. A
# process that is just being started is met in the next round.

signal=$2 n=0 i=0 found=''
send() {
  look
  [ -n "$pids" ] || return 0
  found=yes
  # shellcheck disable=SC2086  # a word for each
  set -- $pids
  if [ "$i" = 0 ] || [ "$signal" != KILL ]; then sent=$((sent + $#)); fi
  signal "$signal" "$@"
}

while [ $i -lt 40 ]; do
  sent=0 found=''
  each_cluster send
  [ -n "$found" ] || break
  if [ $i = 0 ] || [ "$signal" != KILL ]; then n=$sent; fi
  i=$((i + 1))
  if [ "$signal" != KILL ] && [ $i -ge 3 ]; then break; fi
  sleep 0.05
done
if [ $n = 0 ] && [ "$signal" != CONT ]; then
  echo "nothing of PostgreSQL runs there"
  exit 5
fi
found=
remains() { if alive; then found=yes; fi; }
if [ "$signal" = KILL ]; then each_cluster remains; fi
[ -z "$found" ] || { echo "something survives SIGKILL"; exit 5; }
echo "SIG$signal to $n processes"
