# shellcheck shell=sh disable=SC2154  # v: prelude/clusters.sh
# Where the cluster of port $1 is: $v is its version, $c its name, $conf its configuration,
# $d its data directory, $l its log; it belongs to $o (prelude/owner.sh). Status 3: there is
# none.

take <<END
$(known "$1" | head -n 1)
END
if [ -z "$v" ]; then
  echo "no cluster is set up for port $1"
  exit 3
fi
prove_owner
