# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Has commits wait for $2, or for nobody if that is empty, and ends when that is in force.

wait_for "$2"
echo "commits at $v/$c wait for ${2:-nobody}"
