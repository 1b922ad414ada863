# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Ends a follower's receiver; another one is started at once. A signal of its owner's, for
# PostgreSQL's own function ends sessions only.

p=$(sql -c "select pid from pg_stat_activity where backend_type = 'walreceiver'" </dev/null) || exit 1
case $p in
  '' | *[!0-9]*) ;;
  *) as_owner kill -TERM "$p" 2>/dev/null ;;
esac
echo "the receiver of cluster $v/$c connects anew"
