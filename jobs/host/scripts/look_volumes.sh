# shellcheck shell=sh
# A line for each cluster: its port, then what `df` says of its data directory.

timeout 4 pg_lsclusters --json 2>/dev/null | perl -MJSON -e '
  local $/;
  for (@{ JSON::decode_json(<STDIN>) }) {
    print "$_->{port} $_->{pgdata}\n" if $_->{pgdata} && $_->{pgdata} !~ /\n/;
  }
' 2>/dev/null |
  while IFS=' ' read -r port d; do
    printf '%s ' "$port"
    timeout 3 df --output=source,size,used,avail,target -B1 -- "$d" 2>/dev/null </dev/null |
      tail -n +2 | grep . || echo
  done
