# shellcheck shell=sh disable=SC2034,SC2154  # v, c, d: prelude/clusters.sh
# Drops every cluster of the name $1, running or not, with its files, as its owner; a job
# that is just making it is waited for. The words about it go with it.

n=$1
case $n in
  d_*[!A-Za-z0-9_.-]*) n= ;;
  d_*) ;;
  *) n= ;;
esac
[ -n "$n" ] || { echo "no name of a cluster that drover made"; exit 78; }
root=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}
j=$HOME/.drover-jobs

if [ -e "$j/cluster-$n.lock" ]; then
  exec 7>"$j/cluster-$n.lock"
  flock -n 7 || { echo "it is just being made"; exit 75; }
fi

# one_of VERSION sets what is known of the cluster. What is half made is Debian's.
one_of() {
  take <<END
$(known all | awk -F '\037' -v v="$1" -v n="$n" '$1 == v && $2 == n')
END
  if [ -n "$v" ]; then
    prove_owner
  else
    v=$1 c=$n d=/var/lib/postgresql/$1/$n conf=$root/$1/$n
    debians_owner
  fi
}

debians_owner
for conf in "$root"/*/"$n"; do
  [ -d "$conf" ] || continue
  v=${conf%/*}
  case ${v##*/} in *[!0-9.]*) exit 1 ;; esac
  one_of "${v##*/}"
  take_word
  if as_owner test -e "$conf/postgresql.conf"; then
    if alive; then ctl 60 stop fast >/dev/null 2>&1; fi
    as_owner pg_dropcluster --stop "$v" "$n" || exit 1
    if by_unit; then drover_root drop_unit "$v" "$n"; fi
  fi
  # It leaves what drover has put there.
  as_owner rm -rf -- "$conf"
  forget_word
done
for conf in "$root"/*/"$n"; do
  [ ! -e "$conf" ] || { echo "$conf is still there"; exit 1; }
done
c=$n
for d in /var/lib/postgresql/*/"$n"; do
  [ -d "$d" ] || continue
  v=${d%/*} v=${v##*/}
  take_word
  as_owner rm -rf -- "$d"
  forget_word
done
# Where nothing else is, nothing needs room in need.
debians_owner
for d in /var/lib/postgresql/*/drover-reserve; do
  [ "$(ls -A -- "${d%/*}" 2>/dev/null)" != drover-reserve ] || as_owner rm -f -- "$d"
done
rm -f -- "$j/cluster-$n.lock" "$j/cluster-$n.log" "$j/cluster-$n.rc"
echo "cluster $n is gone"
