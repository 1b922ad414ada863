# shellcheck shell=sh disable=SC2034,SC2154  # c, d: prelude/owner.sh; v, n, port, address, most, libraries: the script behind this
# What goes into a new cluster $n of the major version $v, for port $port, with $most
# connections and $libraries loaded at its start. $conf is where its configuration is, $d its
# data; its owner is Debian's.

c=$n conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$n
debians_owner

# What was left half made goes. Folders, owner and the way in by the socket are as the
# server's pg_createcluster makes them; the superuser is postgres, whoever the owner is. The
# owner makes it: root would follow whatever links the owner puts in its way meanwhile.
create_cluster() {
  [ -n "$PG_CLUSTER_CONF_ROOT" ] || drover_root make_trees "$v"
  if as_owner test -e "$conf/postgresql.conf"; then as_owner pg_dropcluster --stop "$v" "$n"; fi
  as_owner rm -rf -- "$conf" "/var/lib/postgresql/$v/$n"
  as_owner pg_createcluster -p "$port" "$v" "$n" -- \
    --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
    --auth-local=peer --auth-host=scram-sha-256
  d=$(as_owner sed -n "s/^data_directory *= *'\([^']*\)'.*/\1/p" "$conf/postgresql.conf")
  owner=$(as_owner id -un)
  method=$(as_owner sed -n 's/^local  *all  *all  *//p' "$conf/pg_hba.conf")
  who=postgres
  [ "$owner" = postgres ] || who=postgres,$owner
  printf '%s\n' "# Written by drover." \
    "local all $who $method" \
    "hostssl all all all scram-sha-256" \
    "hostssl replication drover_replication all scram-sha-256" \
    "hostnossl all all all reject" | put pg_hba.conf 640
}

# The file that is written last of all tells that a cluster is whole. A session may fill a
# tenth of the volume with temporary files, in kB, which no customer can change.
finish() {
  keep_reserve
  size=$(as_owner df -B1K --output=size -- "$d" 2>/dev/null | tail -n 1)
  temp=$((${size:-0} / 10))
  [ "$temp" -gt 0 ] || temp=-1
  in_conf mkdir -p conf.d
  printf '%s\n' "# Written by drover, last of all: what it made is whole." \
    "listen_addresses = '*'" \
    "max_connections = $most" \
    "temp_file_limit = $temp" \
    "password_encryption = 'scram-sha-256'" \
    "ssl = on" \
    "hot_standby = on" \
    "ssl_cert_file = '$conf/server.crt'" \
    "ssl_key_file = '$conf/server.key'" \
    "shared_preload_libraries = '$libraries'" | put conf.d/drover.conf 644
  [ -n "$PG_CLUSTER_CONF_ROOT" ] || drover_root clusters_changed
  # From now on it is known by its own identifier.
  forget_word
}
is_whole() { as_owner test -e "$conf/conf.d/drover.conf"; }
