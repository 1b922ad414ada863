# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Has the old leader lead on, which was shut down or fenced: nobody else leads. Somebody may have
# started it meanwhile: as a standby, which it is until it is started anew.

let_in || exit 1
if is_standby && alive; then
  ctl 300 stop fast >/dev/null 2>&1
  ! alive || { echo "cluster $v/$c is shutting down"; exit 75; }
fi
lead
ctl 300 start
s=$?
if [ $s != 0 ] && [ $s != 2 ]; then exit 1; fi
echo "cluster $v/$c leads on"
