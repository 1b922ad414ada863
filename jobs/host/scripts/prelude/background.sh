# shellcheck shell=sh
# background NAME FUNCTION … runs a function that may take longer than a turn once, under a
# lock that goes with it, and says 75 until it has ended; the rest are its arguments. What
# was cut off is begun anew, so it must be fit for that. It ends at its first command that
# fails; its last words are then the script's, and so is its status where no other try helps.
#
# How far it has come is the last line of its log, and what an operation has its patience with:
# pg_basebackup's figures (`-P`) are told as `18.3 % of 65536 MiB`.
#
# The word is taken for the job, which has its lock until it ends; who only asks after it
# needs none.
#
# $j is where it keeps its log, $job its name.

background() {
  job=$1 todo=$2
  shift 2
  j=$HOME/.drover-jobs
  # shellcheck disable=SC2174  # what it is in is there
  mkdir -p -m 700 -- "$j" || exit 1
  exec 7>"$j/$job.lock"
  if ! flock -n 7; then
    goes_on
  fi
  if [ ! -f "$j/$job.rc" ]; then
    take_word
    # Nothing of ours stays open in it but the locks: sshd waits until all is closed. A shell
    # keeps what it puts aside for a function, so the redirections are not the function's.
    (
      exec >"$j/$job.log" 2>&1 </dev/null 3<&-
      detached "$@"
    ) &
    exec 7>&- 9>&-
    # By a clock that nobody sets: on a machine that is busy, a count of short sleeps takes
    # longer.
    end=$(($(up) + 10))
    while [ ! -f "$j/$job.rc" ] && [ "$(up)" -lt "$end" ]; do
      sleep 0.2
    done
    if [ ! -f "$j/$job.rc" ]; then
      goes_on
    fi
  fi
  r=$(cat "$j/$job.rc")
  rm -f "$j/$job.rc"
  if [ "$r" != 0 ]; then
    grep . "$j/$job.log" | tail -n 3 | tr '\n' ' '
    [ "$r" != 78 ] || exit 78
    exit 1
  fi
}

goes_on() {
  echo "$job goes on: $(tail -n 1 "$j/$job.log" 2>/dev/null | awk '
    match($0, "[0-9]+/ *[0-9]+ kB") {
      split(substr($0, RSTART, RLENGTH - 3), kb, "/")
      printf "%.1f %% of %d MiB are copied\n", kb[2] ? 100 * kb[1] / kb[2] : 0, kb[2] / 1024
      next
    }
    { print }')"
  exit 75
}

up() { cut -d. -f1 /proc/uptime; }

# The end of its session is not its end.
detached() {
  trap '' HUP
  (
    set -e
    "$todo" "$@"
  )
  echo $? >"$j/$job.rc.new"
  mv "$j/$job.rc.new" "$j/$job.rc"
}
