# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# What Debian's tools know of the clusters here. Perl and its JSON module are there wherever
# `pg_lsclusters --json` works.
#
# Root does not read it itself: a configuration is its owner's, who may have put a link or a
# device in its place.

lsclusters() {
  if [ "$(id -u)" != 0 ]; then
    timeout "$1" pg_lsclusters --json
  else
    n=postgres
    id -u -- "$n" >/dev/null 2>&1 || n=nobody
    timeout "$1" setpriv --reuid="$n" --regid="$(id -g -- "$n")" --init-groups --reset-env \
      pg_lsclusters --json
  fi 2>/dev/null
}

# clusters prints what it says of each cluster, as JSON: the fields below, and nothing of its
# `config`, which may hold passwords.
clusters() {
  lsclusters 3 | perl -MJSON -e '
    local $/;
    my @fields = qw(version cluster port running pgdata socketdir owneruid logfile);
    my @kept = map { my $c = $_; +{ map { ($_ => $c->{$_}) } @fields } } @{ JSON::decode_json(<STDIN>) };
    print JSON->new->ascii->encode(\@kept), "\n";
  ' 2>/dev/null
}

# known PORTS prints a line for each cluster at one of these ports, or of all: version, name,
# port, data directory, log, and the number and the name of its owner, who is whoever the
# data belong to; where there are none, the configuration. A byte 31 is between them. What
# Debian would not call a version or a name is none.
known() {
  lsclusters 4 | PORTS=$1 perl -MJSON -e '
    local $/;
    my %wanted = map { $_ => 1 } split / /, $ENV{PORTS};
    for (@{ JSON::decode_json(<STDIN>) }) {
      my ($v, $c, $port, $d, $l) = map { $_ // "" } @$_{qw(version cluster port pgdata logfile)};
      next unless $wanted{all} || $wanted{$port};
      next unless $v =~ /^[0-9]+([.][0-9]+)?\z/ && $c =~ /^[A-Za-z0-9_][A-Za-z0-9_.-]*\z/;
      my $u = $_->{owneruid} // $_->{configuid};
      next unless defined $u && $d =~ m{^/};
      my @line = ($v, $c, $port, $d, $l, $u, getpwuid($u) // "");
      print join("\037", @line), "\n" unless grep { /[\n\037]/ } @line;
    }
  ' 2>/dev/null
}

# take reads such a line: $v, $c, $port, $d, $l, $u and $o are what it says, and $conf is where
# the configuration is.
take() {
  IFS=$(printf '\037') read -r v c port d l u o || return
  conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
}
