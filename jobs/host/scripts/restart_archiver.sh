# shellcheck shell=sh disable=SC2154  # born: prelude/archiver.sh
# Ends what hangs, only what still is the process that was found; then the archiver is waked
# with its settings read anew, and given a segment to archive.

# still prints, of the pids and births that it reads, the pids that are the same processes.
still() {
  while read -r p b; do
    stat_of "$p" && [ "$born" = "$b" ] && echo "$p"
  done 2>/dev/null
}

end() {
  k=$(printf '%s\n' "$found" | still)
  # shellcheck disable=SC2016,SC2086  # the owner's shell expands it; a word for each pid
  [ -z "$k" ] || as_owner sh -c 'kill "$@"' kill "-$1" $k 2>/dev/null
}

gone() {
  n=30
  while [ -n "$(printf '%s\n' "$found" | still)" ]; do
    n=$((n - 1))
    [ $n -gt 0 ] || return 1
    sleep 0.1
  done
}

found=$(hung)
if [ -n "$found" ]; then
  end TERM
  gone || { end KILL; gone; } || {
    echo "a child of the archiver survives SIGKILL: it hangs in the kernel" >&2
    exit 5
  }
fi
sql <<'SQL' >/dev/null || exit 5
select pg_reload_conf();
select pg_switch_wal() where not pg_is_in_recovery();
SQL
status "" "" "$(printf '%s' "$found" | grep -c .)"
