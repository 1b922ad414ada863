# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# The cluster's certificate.

as_root cat "${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c/server.crt"
