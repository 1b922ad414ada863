# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh; conf, host: prelude/follow_arguments.sh
# Has the cluster follow a leader. The password file's line and the certificate that its
# leader is known by come as the input. One that runs takes notice; one that is stopped is a
# standby from its start.

umask 077
IFS= read -r pass <&3
printf '%s\n' "$pass" | put "$conf/replication.pass" 600 || exit 1
cat <&3 | put "$conf/leader.crt" 644 || exit 1
follower_conf | put "$conf/conf.d/follower.conf" 600 || exit 1
if [ -z "$(alive)" ]; then
  as_root touch "$d/standby.signal" || exit 1
  as_root chown --reference="$d" "$d/standby.signal" || exit 1
else
  as_root pg_ctlcluster "$v" "$c" reload || exit 1
fi
# Who led before was not to start by itself; a standby may.
if as_root test -e "$d/standby.signal"; then
  echo auto | as_root tee "$conf/start.conf" >/dev/null || exit 1
fi
echo "cluster $v/$c follows $host"
