# shellcheck shell=sh disable=SC2154  # v: prelude/clusters.sh
# Where the cluster of port $1 is: $v is its version, $c its name, $conf its configuration,
# $d its data directory, $l its log; it belongs to $o (prelude/owner.sh). Status 3: there is
# none.

all=yes
one=$(known "$1") || all=''
take <<END
$one
END
if [ -z "$v" ] && [ -z "$all" ]; then
  echo "not proved: which cluster is at port $1; the configuration of one cannot be read"
  exit 77
fi
if [ -z "$v" ]; then
  echo "no cluster is set up for port $1"
  exit 3
fi
prove_owner
