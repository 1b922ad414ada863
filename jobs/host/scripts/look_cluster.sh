# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# How the cluster of port $1 is; $2 is why drover could not get in. The server's own clock
# comes first, to know later what was started after this.

date +%s
echo "$v/$c"
if [ -n "$(alive)" ]; then echo alive; else echo dead; fi
answers "$1" "$2"
echo $?
