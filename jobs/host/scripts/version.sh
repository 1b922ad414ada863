# shellcheck shell=sh disable=SC2154  # v: prelude/clusters.sh
# The major version of the cluster.

take <<END
$(known "$1" | head -n 1)
END
[ -n "$v" ] || { echo "no cluster is set up for port $1"; exit 3; }
tell version "$v"
