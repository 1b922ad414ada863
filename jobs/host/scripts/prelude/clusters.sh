# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# What Debian's tools know of the clusters here. Perl and its JSON module are there wherever
# `pg_lsclusters --json` works.
#
# Root does not read it itself: a configuration is its owner's, who may have put a link or a
# device in its place.
#
# lsclusters SECONDS prints a list as JSON; where one that cannot be read spoils it for all, a
# list for each cluster, and `null` for that one.

lsclusters() {
  if [ "$(id -u)" = 0 ]; then
    reader=postgres
    id -u -- "$reader" >/dev/null 2>&1 || reader=nobody
    ask() {
      timeout "$1" setpriv --reuid="$reader" --regid="$(id -g -- "$reader")" --init-groups \
        --reset-env pg_lsclusters --json ${2:+"$2" "$3"}
    }
  else
    ask() { timeout "$1" pg_lsclusters --json ${2:+"$2" "$3"}; }
  fi
  ask "$1" && return
  for one in "${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}"/*/*/postgresql.conf; do
    [ -e "$one" ] || [ -L "$one" ] || continue
    one=${one%/*}
    version=${one%/*}
    ask 1 "${version##*/}" "${one##*/}" || echo null
  done
} 2>/dev/null

# clusters prints what it says of each cluster, as JSON: the fields below, and nothing of its
# `config`, which may hold passwords.
clusters() {
  lsclusters 3 | perl -MJSON -e '
    my @fields = qw(version cluster port running pgdata socketdir owneruid logfile);
    my @lists = map { JSON->new->utf8->allow_nonref->decode($_) // () } <STDIN> or exit 1;
    my @kept = map { my $c = $_; +{ map { ($_ => $c->{$_}) } @fields } } map { @$_ } @lists;
    print JSON->new->ascii->encode(\@kept), "\n";
  ' 2>/dev/null
}

# known PORTS prints a line for each cluster at one of these ports, or of all: version, name,
# port, data directory, log, and the number and the name of its owner, who is whoever the
# data belong to; where there are none, the configuration. A byte 31 is between them. What
# Debian would not call a version or a name is none. It fails if there is one that cannot be
# read.
known() {
  lsclusters 4 | PORTS=$1 perl -MJSON -e '
    my %wanted = map { $_ => 1 } split / /, $ENV{PORTS};
    my @lists = map { JSON->new->utf8->allow_nonref->decode($_) } <STDIN>;
    for (map { @{ $_ // [] } } @lists) {
      my ($v, $c, $port, $d, $l) = map { $_ // "" } @$_{qw(version cluster port pgdata logfile)};
      next unless $wanted{all} || $wanted{$port};
      next unless $v =~ /^[0-9]+([.][0-9]+)?\z/ && $c =~ /^[A-Za-z0-9_][A-Za-z0-9_.-]*\z/;
      my $u = $_->{owneruid} // $_->{configuid};
      next unless defined $u && $d =~ m{^/};
      my @line = ($v, $c, $port, $d, $l, $u, getpwuid($u) // "");
      print join("\037", @line), "\n" unless grep { /[\n\037]/ } @line;
    }
    exit((grep { !defined } @lists) ? 1 : 0);
  ' 2>/dev/null
}

# take reads such a line: $v, $c, $port, $d, $l, $u and $o are what it says, and $conf is where
# the configuration is.
take() {
  IFS=$(printf '\037') read -r v c port d l u o || return
  conf=${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}/$v/$c
}
