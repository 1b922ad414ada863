# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh
# mine COMMAND … does something as the cluster's owner, or as root. postmaster prints pid and
# start of the one that works in the data directory: the first and third line of its lock
# file, if a process of that pid is there.

mine() {
  # shellcheck disable=SC3067  # not of POSIX, but of every sh that a server has
  if [ -O "$d" ]; then "$@"; else as_root "$@"; fi
}

postmaster() {
  p=$(mine sed -n 1p -- "$d/postmaster.pid" 2>/dev/null)
  if [ -n "$p" ] && [ -d "/proc/$p" ]; then
    echo "$p-$(mine sed -n 3p -- "$d/postmaster.pid" 2>/dev/null)"
  fi
  return 0
}
