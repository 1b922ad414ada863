# shellcheck shell=sh
# What a machine does when it is turned on: sshd, then the clusters that start by themselves
# (start.conf, as on any Debian), all at once. $1 is its folder.

cd / || exit 1
here=$1
/usr/sbin/sshd -f "$here/sshd_config" -E "$here/console" || exit 1

# stale LOCK DATA: the process that a lock file of PostgreSQL's names works in the data
# directory no more. Its pid may be another's by now, or that of a zombie that no init reaps.
stale() {
  pid=$(head -n 1 -- "$1" 2>/dev/null)
  pid=${pid#-}
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) in
    '' | Z* | X*) return 0 ;;
  esac
  [ "$(readlink "/proc/$pid/cwd")" != "$2" ]
}

for conf in "$here"/home/pg/conf/*/*; do
  [ -e "$conf/postgresql.conf" ] || continue
  [ "$(sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$conf/start.conf" 2>/dev/null | head -n 1)" = auto ] || continue
  data=$(sed -n "s/^data_directory *= *'\([^']*\)'.*/\1/p" "$conf/postgresql.conf" | tail -n 1)
  ! stale "$data/postmaster.pid" "$data" || rm -f -- "$data/postmaster.pid"
  for lock in "$here"/run/.s.PGSQL.*.lock; do
    [ "$(sed -n 2p "$lock" 2>/dev/null)" = "$data" ] || continue
    ! stale "$lock" "$data" || rm -f -- "${lock%.lock}" "$lock"
  done
  name=${conf##*/} version=${conf%/*}
  pg_ctlcluster "${version##*/}" "$name" start &
done
wait
