# shellcheck shell=sh disable=SC2154  # v, c, conf: prelude/owned.sh; own_timeline: timeline.sh
# Has this follower confirm nothing more to its leader, until it is told anew whom it follows
# (follow.sh). Tells up to which `lsn` it has received then, and on which `timeline`. One that
# leads is left as it is (3).
#
# What its receiver logs in with goes first: one that is started from then on connects to nobody,
# whatever the startup process has read of the configuration, and one that waits in a recovery
# conflict reads nothing. Then whoever receives is ended, and seen to be gone. Who follows by
# other means than follow.sh's, or fetches WAL from elsewhere, cannot be kept from it so (4).

[ "$(sql -c 'select pg_is_in_recovery()' </dev/null)" = t ] || {
  echo "cluster $v/$c is no standby"
  exit 3
}
by_others=$(sql -v own="$conf/conf.d/follower.conf" -v root="sslrootcert=$conf/leader.crt" <<'SQL'
select string_agg(what, ', ') from (
    select name || ' in ' || sourcefile from pg_file_settings
    where setting <> ''
      and (name = 'restore_command' or name = 'primary_conninfo' and sourcefile <> :'own')
    union all
    select name || ' by the ' || source from pg_settings
    where name in ('restore_command', 'primary_conninfo') and setting <> ''
      and source = 'command line'
    union all
    select 'its receiver''s connection' from pg_stat_wal_receiver
    where position(:'root' in conninfo) = 0) as found (what)
SQL
) || exit 1
[ -z "$by_others" ] || { echo "it follows by $by_others"; exit 4; }

in_conf sh -c 'rm -f -- leader.crt replication.pass && sync -- .' &&
  echo "# Written by drover: it follows nobody." | put conf.d/follower.conf 600 &&
  sql -o /dev/null -c "select pg_reload_conf()" </dev/null || exit 1

receivers() {
  sql -c "select pid from pg_stat_activity where backend_type = 'walreceiver'" </dev/null
}

old=$(receivers) || exit 1
i=0
for p in $old; do
  while receives=$(receivers) || exit 1 && printf '%s\n' "$receives" | grep -qx -e "$p"; do
    i=$((i + 1))
    [ $i -lt 60 ] || { echo "its receiver $p does not end"; exit 1; }
    kill -TERM "$p" 2>/dev/null
    sleep 0.05
  done
done

stands=$(sql -c "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), $own_timeline" </dev/null) ||
  exit 1
tell lsn "${stands%|*}"
tell timeline "${stands#*|}"
echo "cluster $v/$c confirms nothing to its leader any more"
