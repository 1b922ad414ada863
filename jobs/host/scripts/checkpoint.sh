# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# So that a shutdown has little left to write.

sql -o /dev/null -c checkpoint </dev/null || exit 1
echo "cluster $v/$c has written everything down"
