# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Ends when a follower that commits wait for has confirmed all WAL that there is now (75: none
# has yet).

end=$(sql -c "select pg_current_wal_flush_lsn()" </dev/null) || exit 1
confirmed() {
  sql -v end="$end" <<'SQL'
select exists (
    select from pg_stat_replication
    where sync_state in ('quorum', 'sync') and flush_lsn >= :'end'::pg_lsn)
SQL
}

i=0
until [ "$(confirmed)" = t ]; do
  i=$((i + 1))
  [ $i -lt 50 ] || { echo "no follower that commits at $v/$c wait for has confirmed all of them yet"; exit 75; }
  sleep 0.1
done
echo "a follower has confirmed $end"
