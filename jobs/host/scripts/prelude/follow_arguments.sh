# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# The leader's host ($2) and port ($3), and the slot there ($4) of the cluster of port $1.

host=$2 from=$3 slot=$4
