# shellcheck shell=sh disable=SC2154  # conf: the script behind this
# put FILE MODE writes what it reads to a file of the configuration $conf, whole or not at
# all; the file belongs to whom postgresql.conf belongs to.

put() {
  as_root tee "$1.new" >/dev/null &&
    as_root chmod "$2" "$1.new" &&
    as_root chown --reference="$conf/postgresql.conf" "$1.new" &&
    as_root mv "$1.new" "$1"
}
