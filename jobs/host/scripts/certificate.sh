# shellcheck shell=sh disable=SC2154  # conf: prelude/cluster.sh
# The cluster's certificate.

cat "$conf/server.crt"
