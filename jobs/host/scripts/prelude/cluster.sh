# shellcheck shell=sh disable=SC2034  # v, c, l: for the scripts behind this
# Where the cluster of port $1 is: $v is its version, $c its name, $d its data directory, $l
# its log. Status 3: there is none.
#
# alive prints the PostgreSQL processes that have that directory as their own: postmaster
# and backends, but no zombies, which have none any more, and nobody's shell. Only root and
# the cluster's owner are shown them, so it looks as the one whom the script says.

f=$(timeout 4 pg_lsclusters --json 2>/dev/null | PORT=$1 perl -MJSON -e '
  local $/;
  for (@{ JSON::decode_json(<STDIN>) }) {
    next unless $_->{port} == $ENV{PORT};
    print join("\n", map { $_ // "" } @$_{qw(version cluster pgdata logfile)}), "\n";
    last;
  }
' 2>/dev/null)
{ IFS= read -r v; IFS= read -r c; IFS= read -r d; IFS= read -r l; } <<END
$f
END
if [ -z "$c" ] || [ -z "$d" ]; then
  echo "no cluster is set up for port $1"
  exit 3
fi
d=$(readlink -f -- "$d")

# shellcheck disable=SC2016  # the inner shell expands it
alive() {
  seeing sh -c '
    for p in /proc/[0-9]*; do
      [ "$p/cwd" -ef "$1" ] || continue
      case $(readlink "$p/exe") in
        */postgres | */postgres\ *) echo "${p#/proc/}" ;;
      esac
    done' alive "$d"
}
