# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# A cluster of the name $2 for port $3, of the major version $1 or the newest there is. $4
# is the server's address, $5 how many connections there may be, $6 what is loaded at its
# start.

v=$1 n=$2 port=$3 address=$4 most=$5 libraries=$6
[ -n "$v" ] || v=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null |
  grep -E '^[0-9]+$' | sort -n | tail -n 1)
