# shellcheck shell=sh
# wait_for NAMES has commits wait for these (`synchronous_standby_names`), or for nobody if that
# is empty, and ends when it is in force: a new session shows it, and so the postmaster has told
# all processes; the checkpointer, which is who tells those that commit, was seen at rest twice
# after that. It ends the script where that does not come about (75: not yet).

show() { sql -c "show synchronous_standby_names" </dev/null; }
checkpointer() {
  sql -c "select wait_event from pg_stat_activity where backend_type = 'checkpointer'" </dev/null
}

wait_for() {
  now=$(show) || exit 1
  [ -n "$1$now" ] || return 0
  if [ -n "$1" ]; then
    echo "alter system set synchronous_standby_names = :'names';" |
      sql -o /dev/null -v names="$1" || exit 1
  else
    sql -o /dev/null -c "alter system reset synchronous_standby_names" </dev/null || exit 1
  fi
  sql -o /dev/null -c "select pg_reload_conf()" </dev/null || exit 1
  i=0
  until now=$(show) && [ "$now" = "$1" ]; do
    i=$((i + 1))
    [ $i -lt 25 ] || { echo "synchronous_standby_names is still '$now'"; exit 75; }
    sleep 0.1
  done
  rest=0 i=0
  while [ $rest -lt 2 ]; do
    i=$((i + 1))
    [ $i -lt 40 ] || { echo "the checkpointer has not taken notice yet"; exit 75; }
    sleep 0.1
    case $(checkpointer) in
      CheckpointerMain | CheckpointWriteDelay) rest=$((rest + 1)) ;;
    esac
  done
}
