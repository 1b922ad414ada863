# shellcheck shell=sh disable=SC2154  # conf, d, owner: prelude/new_cluster.sh
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
  if [ "$owner" != postgres ]; then
    # pg_ctlcluster looks whether a start has come about by logging in as the owner, and
    # takes 5 s to believe that it cannot.
    echo "create role \"$owner\" login" |
      as_owner "/usr/lib/postgresql/$v/bin/postgres" --single -D "$d" \
        -c config_file="$conf/postgresql.conf" -c exit_on_error=on postgres >/dev/null
  fi
  finish
}
background "cluster-$n" make_cluster
echo "made cluster $v/$n"
