# shellcheck shell=sh disable=SC2154  # v, why: prelude/choose.sh
# The major version of the cluster.

choose "$1" || {
  status=$?
  echo "$why"
  exit "$status"
}
tell version "$v"
