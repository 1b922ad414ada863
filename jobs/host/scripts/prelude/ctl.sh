# shellcheck shell=sh disable=SC2154  # v, c, l: prelude/cluster.sh
# ctl SECONDS start|stop [MODE] is pg_ctlcluster for the cluster, with its exit status: by its
# unit, where systemd runs clusters and may be told so, for systemd has to know what runs;
# else as its owner, and so whatever is not `fast`, which is all that the unit knows. Nothing
# that stays behind holds what is open here.

by_unit() { [ -d /run/systemd/system ] && [ -z "$PG_CLUSTER_CONF_ROOT" ] && may_root; }

ctl() {
  case $2 in
    start)
      if by_unit; then start_unit "$1"; else owners_ctl "$1" start; fi
      ;;
    stop)
      if [ "$3" = fast ] && systemctl is-active -q "postgresql@$v-$c.service" 2>/dev/null && by_unit; then
        drover_root unit stop "$v" "$c" "$1"
      else
        owners_ctl "$1" stop -m "$3"
        r=$?
        settle_unit
        return "$r"
      fi
      ;;
  esac
} 3<&- 7<&- 8<&- 9<&-

owners_ctl() {
  s=$1
  shift
  as_owner timeout "$s" pg_ctlcluster "$v" "$c" "$@"
}

# Where it does not start, the log says why, as pg_ctlcluster would.
start_unit() {
  ! alive || return 2
  size=$(as_owner stat -L -c %s -- "$l" 2>/dev/null)
  drover_root unit start "$v" "$c" "$1" && return
  r=$?
  as_owner timeout 2 tail -c "+$((${size:-0} + 1))" -- "$l" 2>/dev/null | tail -c 16384
  return "$r"
}

# settle_unit: systemd is told that what runs no more has been stopped, and is not to start it.
settle_unit() {
  if by_unit && ! alive; then drover_root unit stop "$v" "$c" 5 >/dev/null 2>&1; fi
  return 0
}
