# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh; word_known: prelude/word.sh
# cluster_key prints what a cluster's words are kept under: its system identifier, which its
# owner reads, with its version and its name, for a leader and its follower share the first.
# Where there are no data, it is the one that the record knows, or the name.
cluster_key() {
  word_id=$(as_owner env LC_ALL=C "/usr/lib/postgresql/$v/bin/pg_controldata" -D "$d" 2>/dev/null |
    sed -n 's/^Database system identifier: *\([0-9][0-9]*\)$/\1/p')
  if [ -n "$word_id" ]; then
    echo "$word_id-$v-$c"
  elif [ "$word_known" != - ]; then
    echo "$word_known"
  else
    echo "new-$c"
  fi
}
take_word() { obey "$(cluster_key)"; }
