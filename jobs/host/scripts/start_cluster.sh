# shellcheck shell=sh disable=SC2154  # v, c, l: prelude/cluster.sh
# Starts the cluster. 2 is pg_ctlcluster's word for one that runs already.

ctl 300 start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then
  as_owner tail -n 1 -- "$l" 2>/dev/null
  exit 1
fi
echo "cluster $v/$c runs"
