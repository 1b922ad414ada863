# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; host: prelude/follow_arguments.sh
# Has the cluster follow a leader. The password file's line and the certificate that its
# leader is known by come as the input. One that runs takes notice; one that is stopped is a
# standby from its start.

umask 077
IFS= read -r pass <&3
printf '%s\n' "$pass" | put replication.pass 600 || exit 1
cat <&3 | put leader.crt 644 || exit 1
follower_conf | put conf.d/follower.conf 600 || exit 1
if alive; then
  as_owner pg_ctlcluster "$v" "$c" reload || exit 1
else
  be_standby || exit 1
fi
# Who led before was not to start by itself; a standby may.
if is_standby; then
  echo auto | put start.conf 644 || exit 1
fi
echo "cluster $v/$c follows $host"
