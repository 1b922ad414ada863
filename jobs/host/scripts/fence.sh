# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Stops the cluster at once, and sees to it that nobody writes to it whoever starts it. What
# stands in pg_hba.conf comes back when it follows (open.sh).

hba=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c/pg_hba.conf

be_standby() {
  as_root touch "$d/standby.signal" && as_root chown --reference="$d" "$d/standby.signal"
}

let_nobody_in() {
  [ -e "$hba.unfenced" ] || as_root cp -p "$hba" "$hba.unfenced" || return 1
  {
    echo "# Written by drover: it has lost its lead."
    as_root grep "^local" "$hba.unfenced"
  } | as_root tee "$hba.new" >/dev/null &&
    as_root chown --reference="$hba.unfenced" "$hba.new" &&
    as_root chmod --reference="$hba.unfenced" "$hba.new" &&
    as_root mv "$hba.new" "$hba"
}

marked=yes
be_standby || marked=
let_nobody_in || marked=

p=$(as_root sed -n 1p -- "$d/postmaster.pid" 2>/dev/null)
if [ -n "$(alive)" ]; then
  [ -z "$p" ] || as_root kill -QUIT "$p" 2>/dev/null
  n=5
  while [ -n "$(alive)" ] && [ $n -gt 0 ]; do
    sleep 0.1
    n=$((n - 1))
  done
  n=50
  while [ -n "$(alive)" ] && [ $n -gt 0 ]; do
    # shellcheck disable=SC2046  # a word for each
    as_root kill -9 $(alive) 2>/dev/null
    sleep 0.1
    n=$((n - 1))
  done
fi
[ -z "$(alive)" ] || { echo "a process of $v/$c survives SIGKILL"; exit 1; }
as_root rm -f -- "$d/postmaster.pid"
[ -n "$marked" ] || { echo "cluster $v/$c is stopped, but it cannot be kept so"; exit 1; }
echo "cluster $v/$c is stopped, and kept from writing"
