# shellcheck shell=sh disable=SC2154  # v: prelude/cluster.sh
# The major version of the cluster.

tell version "$v"
