# shellcheck shell=sh
# clusters prints what pg_lsclusters says of each cluster, as JSON: the fields below, and
# nothing of its `config`, which may hold passwords. Perl and its JSON module are there
# wherever `pg_lsclusters --json` works.

clusters() {
  timeout 3 pg_lsclusters --json 2>/dev/null | perl -MJSON -e '
    local $/;
    my @fields = qw(version cluster port running pgdata socketdir owneruid logfile);
    my @kept = map { my $c = $_; +{ map { ($_ => $c->{$_}) } @fields } } @{ JSON::decode_json(<STDIN>) };
    print JSON->new->ascii->encode(\@kept), "\n";
  ' 2>/dev/null
}
