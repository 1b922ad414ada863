# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; pids: prelude/processes.sh
# Stops the cluster at once, and sees to it that nobody writes to it whoever starts it. What
# stands in pg_hba.conf comes back when it follows (open.sh).

# shellcheck disable=SC2016  # the owner's shell expands it
let_nobody_in() {
  in_conf sh -c '
    h=pg_hba.conf
    if [ ! -e $h.unfenced ]; then
      rm -f $h.new && cp -p $h $h.new && mv -fT $h.new $h.unfenced || exit 1
    fi
    rm -f $h.new && cp -p $h.unfenced $h.new || exit 1
    {
      echo "# Written by drover: it has lost its lead." && sed -n "/^local/p" $h.unfenced
    } >$h.new &&
      sync -- $h.new &&
      mv -fT $h.new $h &&
      sync -- $h.unfenced .'
}

# It is stopped all the same where it cannot be kept so. mark tells what went wrong.
mark() {
  be_standby
  marked=$?
  let_nobody_in && [ $marked = 0 ]
}
why=$(mark 2>&1)
marked=$?

if alive; then
  p=$(lock_line 1)
  ! works "$p" || signal QUIT "$p"
  gone 6
  i=50
  while alive && [ $i -gt 0 ]; do
    # shellcheck disable=SC2086  # a word for each
    signal KILL $pids
    sleep 0.1
    i=$((i - 1))
  done
fi
settle_unit
! alive || { echo "a process of $v/$c survives SIGKILL"; exit 1; }
in_data rm -f postmaster.pid 2>/dev/null
if [ $marked != 0 ]; then
  echo "cluster $v/$c is stopped, but it cannot be kept so: $(printf '%s\n' "$why" | tail -n 1)"
  exit 1
fi
echo "cluster $v/$c is stopped, and kept from writing"
