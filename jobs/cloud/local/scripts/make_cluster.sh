#!/bin/sh
# Makes cluster $1/$2 for port $3, as somebody would who has drover adopt it later, and runs
# the statements that are its input, which make role $4. What was left half made is made anew.
set -eu

conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$1/$2
[ ! -e "$conf" ] || pg_dropcluster --stop "$1" "$2" || rm -rf -- "$conf"
[ -n "${PG_CLUSTER_CONF_ROOT:-}" ] || rm -rf -- "/var/lib/postgresql/$1/$2"
pg_createcluster -p "$3" "$1" "$2" -- --username=postgres \
  --auth-local=peer --auth-host=scram-sha-256 >/dev/null
printf '%s\n' "listen_addresses = '*'" "max_connections = 30" "shared_buffers = '16MB'" \
  "max_wal_size = '128MB'" "min_wal_size = '32MB'" >"$conf/conf.d/local.conf"
echo 'host all all all scram-sha-256' >>"$conf/pg_hba.conf"
pg_ctlcluster "$1" "$2" start
# pg_ctlcluster looks whether a start has come about by logging in as the owner, and takes 5 s
# to believe that it cannot.
o=$(pg_lsclusters -h "$1" "$2" | tr -s ' ' | cut -d ' ' -f 5)
case $o in postgres | "$4") o= ;; esac
{ [ -z "$o" ] || echo "create role \"$o\" login;"; cat; } |
  PGOPTIONS='-c log_min_error_statement=panic' \
    sudo -n -u postgres psql --cluster "$1/$2" -U postgres -Xq -v ON_ERROR_STOP=1
