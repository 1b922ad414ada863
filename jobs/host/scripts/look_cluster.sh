# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; clock: prelude/head.sh
# How the cluster of port $1 is; $2 is why drover could not get in. The server's own clock is
# there to know later what was started after this.

tell clock "${clock%.*}"
tell cluster "$v/$c"
if alive; then tell alive alive; else tell alive dead; fi
answers "$1" "$2"
tell answers $?
