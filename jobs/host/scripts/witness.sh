# shellcheck shell=sh disable=SC2154  # l, d, o: prelude/clusters.sh
# What a server says of the cluster on port $1: sections, each behind a line `@@ name
# status`. $2 is what is worth sending of its log, for `grep -E`.

say() { printf '@@ %s %s\n%s\n' "$1" "$2" "$3"; }

if command -v pg_lsclusters >/dev/null; then
  j=$(clusters)
  say clusters $? "$j"
else
  say clusters 127 ''
fi
choose "$1"
say cluster $? "${why:-$v/$c}"

# Where nobody but the owner is shown what runs, or may read the log, it looks as the owner;
# root reads nothing that it is pointed to by others.
seen() { timeout 1 tail -c 16384 -- "$l"; }
shown() { ps -eo pid=,stat=,args=; }
if [ -n "$o" ] && (prove_owner) >/dev/null 2>&1; then
  seen() { as_owner timeout 1 tail -c 16384 -- "$l"; }
  shown() { as_owner ps -eo pid=,stat=,args=; }
elif [ "$(id -u)" = 0 ]; then
  seen() { :; }
elif ! cat /proc/1/stat >/dev/null 2>&1; then
  echo "not proved: $(id -un) is not shown what others run"
  exit 77
fi

# awk gets the data directory by its environment, so that the search does not find itself.
p=$(shown 2>/dev/null | D="$d" awk '
  ENVIRON["D"] != "" && index($0 " ", "postgres -D " ENVIRON["D"] " ") { print $1, $2; exit }')
say postmaster $? "$p"
p=$(awk -v p="$(printf ':%04X' "$1")" '
  $4 == "0A" && substr($2, length($2) - 4) == p { print "yes"; exit }
' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
say listener 0 "$p"
p=$(seen 2>/dev/null | grep -aE "$2" | tail -n 20 | cut -c 1-500)
say log 0 "$p"
