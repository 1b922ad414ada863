# shellcheck shell=sh disable=SC2154  # why: prelude/choose.sh
# Where the cluster of port $1 is: $v is its version, $c its name, $conf its configuration,
# $d its data directory, $l its log; it belongs to $o (prelude/owner.sh). Status 3: there is
# none; 77: it cannot be told which it is.

choose "$1" || {
  status=$?
  echo "$why"
  exit "$status"
}
prove_owner
