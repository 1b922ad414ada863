# shellcheck shell=sh disable=SC2154  # l: prelude/cluster.sh
# How the archiver is. The log may quote the command, and that may hold a secret: only
# PostgreSQL's own words are taken.

names=$(hung | while read -r p _; do
  IFS= read -r n <"/proc/$p/comm" && printf '%s (pid %s) ' "$n" "$p"
done 2>/dev/null)
said=$(as_owner tail -c 65536 -- "$l" 2>/dev/null |
  grep -aoE 'archive command (failed with exit code [0-9]+|was terminated by signal [0-9]+)' |
  tail -n 1)
status "$names" "$said" ""
