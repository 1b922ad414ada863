# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# A cluster of the name $2, of the leader's major version $1, for port $3 at the address $4,
# as a copy of the one at $5 port $6, streaming from slot $7, at most $8 MiB a second. $9 is
# how many connections there may be, ${10} what is loaded at its start.

v=$1 n=$2 port=$3 address=$4 host=$5 from=$6 slot=$7 rate=$8 most=$9 libraries=${10}
