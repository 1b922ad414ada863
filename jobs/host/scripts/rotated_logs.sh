# shellcheck shell=sh
# $1 is `look` or `remove`, $2 the ports of the clusters whose logs may go; the mount points
# follow. Only files that logrotate leaves behind, `*.log.N` and `.gz`, on those mounts: of a
# cluster's own log by its name, for other clusters log to the same directory; and in the
# log directories within its data. The last line: how many, and how many bytes.

delete=
[ "$1" != remove ] || delete=-delete
ports=$2
shift 2
set -f

# wanted MOUNT OF …
wanted() {
  m=$1
  shift
  for w; do
    [ "$w" = "$m" ] && return
  done
  return 1
}

# A log's name becomes a regular expression, so that odd ones are left out.
timeout 4 pg_lsclusters --json 2>/dev/null | PORTS=$ports perl -MJSON -e '
  local $/;
  my %ours = map { $_ => 1 } split / /, $ENV{PORTS};
  for (@{ JSON::decode_json(<STDIN>) }) {
    next unless $ours{$_->{port}};
    my ($d, $l) = @$_{qw(pgdata logfile)};
    if (($l // "") =~ m{^(/.*)/([\w.+%=,-]+\.log)$}) {
      my ($dir, $name) = ($1, $2);
      $name =~ s/([.+])/[$1]/g;
      print "$name $dir\n" unless $dir =~ /\n/;
    }
    if (($d // "") =~ m{^/} && $d !~ /\n/) {
      print "[^/]*[.]log $d/$_\n" for qw(log pg_log);
    }
  }
' 2>/dev/null | sort -u |
  while IFS=' ' read -r name dir; do
    [ -d "$dir" ] || continue
    wanted "$(timeout 3 df --output=target -- "$dir" 2>/dev/null | tail -n 1)" "$@" || continue
    # shellcheck disable=SC2086  # nothing, or one word
    timeout 10 find -P "$dir" -maxdepth 1 -type f -regextype posix-extended \
      -regex ".*/$name"'(\.[0-9]+|\.gz|\.[0-9]+\.gz)' $delete -printf '%s\n' 2>/dev/null
  done | awk '{ n += 1; b += $1 } END { printf "%d %.0f\n", n, b }'
