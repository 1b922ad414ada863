# shellcheck shell=sh disable=SC2154  # v, d, conf, host, from, slot: the script behind this
# How the leader at $host port $from is reached, from slot $slot, with the password and the
# certificate that lie beside the configuration $conf.

# conninfo NAME: it is the application's. Whoever waits for a leader whose server has lost its
# power, or has booted since, is told so within half a minute, and not within hours.
conninfo() {
  printf '%s' "host=$host port=$from user=drover_replication sslmode=verify-full" \
    " sslrootcert=$conf/leader.crt passfile=$conf/replication.pass" \
    " application_name=$1 connect_timeout=5" \
    " keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=25000"
}

# follower_conf prints the configuration of whoever follows it.
follower_conf() {
  printf '%s\n' "# Written by drover: whom it follows." \
    "primary_conninfo = '$(conninfo "$slot")'" \
    "primary_slot_name = '$slot'" \
    "wal_receiver_timeout = '5s'" \
    "wal_receiver_status_interval = '1s'" \
    "wal_retrieve_retry_interval = '1s'"
}

# no_sync prints an option for what copies into a cluster that runs without fsync.
no_sync() {
  [ "$(as_owner "/usr/lib/postgresql/$v/bin/postgres" -C fsync -D "$d" \
    -c config_file="$conf/postgresql.conf")" != off ] || echo --no-sync
}
