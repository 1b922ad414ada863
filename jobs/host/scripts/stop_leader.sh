# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Shuts the cluster down, ending its sessions; its walsenders send all that there is before
# they end. From then on it starts as a standby that knows no leader, and takes no writes
# whoever starts it. Prints where its WAL ends.

if alive; then
  ctl 300 stop fast >/dev/null 2>&1
  ! alive || { echo "cluster $v/$c is shutting down"; exit 75; }
fi
be_standby || exit 1
s=$(as_owner "/usr/lib/postgresql/$v/bin/pg_controldata" "$d")
case $s in
  *"shut down"*) ;;
  *) echo "cluster $v/$c was not shut down in good order"; exit 1 ;;
esac
tell lsn "$(printf '%s\n' "$s" | sed -n 's/^Latest checkpoint location: *//p')"
