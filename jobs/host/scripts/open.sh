# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Lets clients in again at a cluster that follows: takes back what fence.sh has done.

hba=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c/pg_hba.conf
if as_root test -e "$hba.unfenced"; then
  as_root mv "$hba.unfenced" "$hba" || exit 1
fi
