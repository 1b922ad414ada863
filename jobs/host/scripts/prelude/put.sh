# shellcheck shell=sh
# put FILE MODE writes what it reads to a file of the configuration, whole or not at all, and
# on the disk, as its owner.

# shellcheck disable=SC2016  # the owner's shell expands it
put() {
  in_conf sh -c '
    umask 077
    rm -f -- "$1.new" &&
      cat >"$1.new" &&
      chmod -- "$2" "$1.new" &&
      sync -- "$1.new" &&
      mv -fT -- "$1.new" "$1" &&
      sync -- "$(dirname -- "$1")"' put "$@"
}
