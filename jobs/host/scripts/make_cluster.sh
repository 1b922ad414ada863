# shellcheck shell=sh disable=SC2154  # conf, data, local: prelude/new_cluster.sh
# Makes the cluster that prelude/new_cluster.sh speaks of. What was left half made is made
# anew: the file that is written last tells.

if [ ! -x "/usr/lib/postgresql/$v/bin/initdb" ]; then
  echo "PostgreSQL $v is not installed"
  exit 78
fi
is_whole && { echo "cluster $v/$n is made"; exit 0; }

make_cluster() {
  create_cluster
  certify
  if [ -n "$local" ]; then
    # pg_ctlcluster looks whether a start has come about by logging in as whoever calls it,
    # and takes 5 s to believe that it cannot.
    echo "create role \"$(id -un)\" login" |
      "/usr/lib/postgresql/$v/bin/postgres" --single -D "$data" \
        -c config_file="$conf/postgresql.conf" -c exit_on_error=on postgres >/dev/null
  fi
  finish
}
background "cluster-$n" make_cluster
echo "made cluster $v/$n"
