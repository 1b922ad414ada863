# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh
# seeing COMMAND … looks as the owner of the cluster.

seeing() { as_owner_of "$d" "$@"; }
