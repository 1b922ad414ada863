# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Promotes the cluster, unless it leads already, and proves that it writes. Its standby
# settings go, so that no restart makes it a follower again.

in_recovery() { sql -c 'select pg_is_in_recovery()' </dev/null; }

if [ "$(in_recovery)" = t ]; then
  sql -o /dev/null -c 'select pg_promote(true, 15)' </dev/null || exit 1
fi
[ "$(in_recovery)" = f ] || { echo "it is still in recovery"; exit 75; }
in_conf rm -f conf.d/follower.conf
sql -o /dev/null -c "select pg_reload_conf()" </dev/null
sql -o /dev/null -c "select txid_current()" </dev/null || exit 1
sql -o /dev/null -c "checkpoint" </dev/null
echo "cluster $v/$c leads"
