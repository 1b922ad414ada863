# shellcheck shell=sh disable=SC2154  # conf, d: prelude/new_cluster.sh
# Makes the cluster that prelude/new_cluster.sh speaks of as a copy of its leader. What was
# left half made is made anew: the file that is written last tells. The password file and
# the certificate that the leader is known by come as the input.

if [ ! -x "/usr/lib/postgresql/$v/bin/pg_basebackup" ]; then
  echo "PostgreSQL $v is not installed"
  exit 78
fi
t=$HOME/.drover-jobs
if is_whole; then
  rm -f -- "$t/$n.crt" "$t/$n.pass"
  echo "cluster $v/$n is made"
  exit 0
fi
# shellcheck disable=SC2174  # what it is in is there
mkdir -p -m 700 -- "$t" || exit 1
umask 077
IFS= read -r pass <&3
cat <&3 >"$t/$n.crt.new"
printf '%s\n' "$pass" >"$t/$n.pass.new"
mv "$t/$n.crt.new" "$t/$n.crt"
mv "$t/$n.pass.new" "$t/$n.pass"
umask 022

copy_cluster() {
  create_cluster
  put leader.crt 644 <"$t/$n.crt"
  put replication.pass 600 <"$t/$n.pass"
  rm -f -- "$t/$n.crt" "$t/$n.pass"
  certify
  as_owner find "$d" -mindepth 1 -delete
  # Not under its own name: what a copy confirms is no copy of a commit yet.
  # shellcheck disable=SC2046  # an option, or none
  as_owner "/usr/lib/postgresql/$v/bin/pg_basebackup" -d "$(conninfo drover_copy)" \
    -D "$d" -X stream -S "$slot" -c fast -P -r "${rate}M" $(no_sync)
  be_standby
  in_conf mkdir -p conf.d
  follower_conf | put conf.d/follower.conf 600
  finish
}
background "cluster-$n" copy_cluster

# A turn that came while the copy was made has put them there once more.
rm -f -- "$t/$n.crt" "$t/$n.pass"
echo "made cluster $v/$n, a copy of its leader"
