# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Where the WAL of a cluster ends that is down, read from place $2 of timeline $3 on: tells
# `end`. What is not there ends before.

! alive || { echo "cluster $v/$c runs"; exit 1; }
tell end "$(as_owner timeout 5 "/usr/lib/postgresql/$v/bin/pg_waldump" -p "$d/pg_wal" -t "$3" -s "$2" 2>/dev/null |
  sed -n 's/^.*len (rec\/tot): *[0-9]*\/ *\([0-9]*\),.* lsn: \([0-9A-F/]*\),.*$/\2 \1/p' |
  tail -n 1)"
