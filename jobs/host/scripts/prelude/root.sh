# shellcheck shell=sh disable=SC2154  # helper: its text, which the runner puts here
# All that drover does as root on a server are the verbs of drover-root. drover_root VERB …
# runs one: that which is installed, where the login may use that; else the text that the
# script brings along, as root or by sudo. may_root tells whether there is a way; without
# one drover_root says so (77).

may_root() {
  if [ -z "$root_by" ]; then
    if [ "$(id -u)" = 0 ]; then
      root_by=itself
    elif sudo -n /usr/local/sbin/drover-root version >/dev/null 2>&1; then
      root_by=installed
    elif sudo -n -- true 2>/dev/null; then
      root_by=sudo
    else
      root_by=nobody
    fi
  fi
  [ "$root_by" != nobody ]
}
root_by=

drover_root() {
  may_root || {
    echo "not proved: $(id -un) cannot become root: $(no_sudo root)"
    return 77
  }
  case $root_by in
    itself) perl -e "$helper" -- "$@" ;;
    installed) sudo -n /usr/local/sbin/drover-root "$@" ;;
    sudo) sudo -n -- perl -e "$helper" -- "$@" ;;
  esac
} 7<&- 8<&- 9<&-
