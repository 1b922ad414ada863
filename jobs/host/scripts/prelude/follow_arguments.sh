# shellcheck shell=sh disable=SC2034,SC2154  # for the scripts behind this; v, c: prelude/cluster.sh
# The leader's host ($2) and port ($3), and the slot there ($4) of the cluster of port $1.

conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
host=$2 from=$3 slot=$4
