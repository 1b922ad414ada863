# shellcheck shell=sh disable=SC2154  # v, c, l: prelude/cluster.sh
# Starts the cluster as what it is by the record: $2 is `leader` or `follower`; empty, it is an
# adopted one, which starts as it is. 2 is pg_ctlcluster's word for one that runs already.

be_what_it_is "$2" || exit 1
ctl 300 start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then
  as_owner tail -n 1 -- "$l" 2>/dev/null
  exit 1
fi
echo "cluster $v/$c runs"
