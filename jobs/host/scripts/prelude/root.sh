# shellcheck shell=sh
# as_root COMMAND … does something as root, where the login is not the clusters' owner: on
# a local server it is. as_owner_of PATH COMMAND … does something as whoever owns it.

export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin

as_root() {
  if [ "$(id -u)" = 0 ] || [ -n "$DROVER_CREATECLUSTER" ]; then "$@"; else sudo -n -- "$@"; fi
}

as_owner_of() {
  of=$(as_root stat -c %U -- "$1") || return 1
  shift
  if [ "$(id -un)" = "$of" ]; then "$@"
  elif [ "$(id -u)" = 0 ]; then runuser -u "$of" -- "$@"
  else sudo -n -u "$of" -- "$@"; fi
}
