# shellcheck shell=sh disable=SC2034  # v, c, l: for the scripts behind this
# Where the cluster of port $1 is: $v is its version, $c its name, $d its data directory, $l
# its log. Status 3: there is none.
#
# alive prints the PostgreSQL processes that have that directory as their own: postmaster
# and backends, but no zombies, which have none any more, and nobody's shell. Only root and
# the cluster's owner are shown them.

export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin

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

alive() {
  for p in /proc/[0-9]*; do
    # shellcheck disable=SC3013  # not of POSIX, but of every sh that a server has
    [ "$p/cwd" -ef "$d" ] || continue
    case $(readlink "$p/exe") in
      */postgres | */postgres\ *) echo "${p#/proc/}" ;;
    esac
  done
}
