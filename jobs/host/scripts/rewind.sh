# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh; conf, slot: follow_arguments.sh; j, job: background.sh
# Rewinds the cluster to where it parted from its leader; $5 is the name of the job. $6 is the
# number of a timeline: one that bears it, or a later one, is not its leader's, whatever
# pg_rewind makes of it, and is left as it is (78). It is
# not to start as a leader meanwhile: nobody is let in (pg_hba.conf), and it does not start
# by itself. Only what was shut down in good order can be rewound. What has led finishes
# PostgreSQL's own recovery for that, which ends with a checkpoint. What was cut off while it
# followed must write none, for its leader has other WAL in that place: it replays what it has
# received, alone, and is shut down.
#
# It tells `end`, LSN and length of the last record, and where it `parted`; nothing, where
# nobody can tell.

# What it wrote last tells, before a checkpoint does.
# shellcheck disable=SC2016  # the owner's shell expands it
own=$(in_data sh -c 'ls pg_wal' | sed -n 's/^\([0-9A-F]\{8\}\)[0-9A-F]\{16\}$/\1/p' | sort | tail -n 1)
if [ -n "$own" ] && [ "$(printf %d "0x$own")" -ge "$6" ] && [ ! -e "$HOME/.drover-jobs/$5.lock" ]; then
  echo "it has written timeline $(printf %d "0x$own"), which is not its leader's"
  exit 78
fi
b=/usr/lib/postgresql/$v/bin port=$1
# A checkpoint throws away what lies before it, and pg_rewind goes back to the one before the
# fork.
if [ "${v%%.*}" -ge 13 ]; then keep=wal_keep_size=1000000; else keep=wal_keep_segments=60000; fi

told() { as_owner "$b/pg_controldata" "$d" | sed -n "s/^$1: *//p"; }

# One that was promoted, and has made no checkpoint since, has gone on in files of another
# timeline.
last_record() {
  set -- -t "$(told "Latest checkpoint.s TimeLineID")" -s "$(told "Latest checkpoint.s REDO location")"
  [ "$((0x${own:-0}))" -le "$2" ] || set -- -t "$((0x$own))" -s "$(begins)"
  as_owner timeout 20 "$b/pg_waldump" -p "$d/pg_wal" "$@" 2>/dev/null |
    sed -n 's/^.*len (rec\/tot): *[0-9]*\/ *\([0-9]*\),.* lsn: \([0-9A-F/]*\),.*$/\2 \1/p' |
    tail -n 1
}

# Where the first of its files of the timeline $own begins.
begins() {
  # shellcheck disable=SC2016  # the owner's shell expands it
  first=$(in_data sh -c 'ls pg_wal' | grep -E "^${own}[0-9A-F]{16}\$" | sort | head -n 1)
  size=$(told "Bytes per WAL segment")
  low=${first#????????????????}
  printf '%X/%X' "$((0x$(echo "$first" | cut -c 9-16)))" "$((0x$low * size))"
}

# Nobody but its owner reaches it meanwhile. It holds none of the locks: should it outlive this
# script, a fence can stop it.
replay() {
  be_standby
  (
    exec 7>&- 8<&- 9>&-
    as_owner "$b/postgres" -D "$d" -c config_file="$conf/postgresql.conf" -c listen_addresses= \
      -c unix_socket_directories="$d" -c hot_standby=on -c primary_conninfo= \
      -c restore_command= -c archive_mode=off -c "$keep"
  ) &
  i=0 before=0
  until has_all || [ "$i" = 900 ]; do
    i=$((i + 1))
    sleep 1
    [ "$i" -lt 10 ] || alive || exit 1
    [ $((i % 30)) = 0 ] || continue
    used=$(ticks)
    if [ -z "$waits" ] && [ -n "$used" ] && [ "$used" -le $((before + 3)) ]; then
      p=$(lock_line 1)
      alive && works "$p" && signal QUIT "$p" && gone 600
      echo "what it has of its WAL ends before it is consistent"
      exit 78
    fi
    before=${used:-0}
  done
  p=$(lock_line 1)
  alive && works "$p" && signal INT "$p" && gone 600
  [ "$i" -lt 900 ] || { echo "it has not replayed all that it had within $i s"; exit 1; }
}

# What its processes have computed, in ticks of the kernel's clock; nothing, where they are not
# seen. Before it is consistent it lets nobody in, and where its WAL ends by then, it waits for
# more of it for ever: they use hardly one a minute.
ticks() {
  as_owner sh -c 'cat /proc/[0-9]*/stat 2>/dev/null' | sed 's/^.*) //' |
    awk -v p="$(lock_line 1)" '$2 == p { seen = 1; used += $12 + $13 } END { if (seen) print used }'
}

# Its startup process has found the end, and waits for more.
has_all() {
  for u in postgres "$o"; do
    waits=$(as_owner "$b/psql" -XAtqw -h "$d" -p "$port" -U "$u" -d template1 -c "
      select count(*) from pg_stat_activity where backend_type = 'startup'
        and wait_event = 'RecoveryRetrieveRetryInterval'" </dev/null 2>/dev/null) && break
  done
  [ "$waits" = 1 ]
}

rewind() {
  ! alive || { echo "cluster $v/$c runs"; exit 1; }
  trap be_standby EXIT
  end=$(last_record)
  [ -z "$end" ] || echo "end $end"
  case $(told "Database cluster state") in
    "shut down"*) ;;
    "in archive recovery") replay ;;
    *)
      lead
      as_owner timeout 900 "$b/postgres" --single -F -D "$d" -c config_file="$conf/postgresql.conf" \
        -c "$keep" template1 </dev/null >/dev/null
      ;;
  esac
  # shellcheck disable=SC2046  # an option, or none
  as_owner timeout 3600 "$b/pg_rewind" -D "$d" --source-server="$(conninfo "$slot") dbname=postgres" \
    $(no_sync)
}
background "$5" rewind

is_standby || { echo "cluster $v/$c would lead"; exit 1; }
tell end "$(sed -n 's/^end //p' "$j/$job.log")"
tell parted "$(sed -n 's/^.*diverged at WAL location \([0-9A-F/]*\) .*$/\1/p' "$j/$job.log")"
rm -f -- "$j/$job.log" "$j/$job.lock"
echo "cluster $v/$c is rewound to its leader"
