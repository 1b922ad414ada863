# shellcheck shell=sh
# What a server says of the cluster on port $1: sections, each behind a line `@@ name
# status`. $2 is what is worth sending of its log, for `grep -E`.

say() { printf '@@ %s %s\n%s\n' "$1" "$2" "$3"; }

if command -v pg_lsclusters >/dev/null; then
  j=$(clusters)
  say clusters $? "$j"
  f=$(printf '%s' "$j" | PORT=$1 perl -MJSON -e '
    local $/;
    for (@{ JSON::decode_json(<STDIN>) }) {
      next unless $_->{port} == $ENV{PORT};
      print "$_->{pgdata}\n$_->{logfile}\n";
      last;
    }
  ' 2>/dev/null)
else
  say clusters 127 ''
  f=
fi
{ IFS= read -r d; IFS= read -r l; } <<END
$f
END

# awk gets the data directory by its environment, so that the search does not find itself.
p=$(ps -eo pid=,stat=,args= 2>/dev/null | D="$d" awk '
  ENVIRON["D"] != "" && index($0 " ", "postgres -D " ENVIRON["D"] " ") { print $1, $2; exit }')
say postmaster $? "$p"
p=$(awk -v p="$(printf ':%04X' "$1")" '
  $4 == "0A" && substr($2, length($2) - 4) == p { print "yes"; exit }
' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
say listener 0 "$p"
p=$(timeout 1 tail -c 16384 -- "$l" 2>/dev/null | grep -aE "$2" | tail -n 20 | cut -c 1-500)
say log 0 "$p"
