# shellcheck shell=sh
# Drops every cluster of the name $1, running or not, with its files; a job that is just
# making it is waited for.

n=$1
case $n in
  d_*) ;;
  *) echo "no name of a cluster that drover made"; exit 78 ;;
esac
conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}
j=$HOME/.drover-jobs

if [ -e "$j/cluster-$n.lock" ]; then
  exec 9>"$j/cluster-$n.lock"
  flock -n 9 || { echo "it is just being made"; exit 75; }
fi
for d in "$conf"/*/"$n"; do
  [ -d "$d" ] || continue
  v=${d%/*}
  v=${v##*/}
  if [ -e "$d/postgresql.conf" ]; then as_root pg_dropcluster --stop "$v" "$n" || exit 1; fi
  # It leaves what drover has put there.
  as_root rm -rf -- "$d"
done
for d in "$conf"/*/"$n"; do
  [ ! -e "$d" ] || { echo "$d is still there"; exit 1; }
done
for d in /var/lib/postgresql/*/"$n"; do
  [ ! -d "$d" ] || as_root rm -rf -- "$d"
done
rm -f -- "$j/cluster-$n.lock" "$j/cluster-$n.log" "$j/cluster-$n.rc"
echo "cluster $n is gone"
