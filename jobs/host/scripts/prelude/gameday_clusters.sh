# shellcheck shell=sh
# $1 is a cluster's port or `all`; $dirs are the data directories, and pids prints what
# PostgreSQL runs there, as root sees it. Status 3: there is no such cluster.

dirs=$(timeout 4 pg_lsclusters --json 2>/dev/null | PORT=$1 perl -MJSON -e '
  local $/;
  for (@{ JSON::decode_json(<STDIN>) }) {
    print $_->{pgdata}, "\n" if $ENV{PORT} eq "all" || $_->{port} == $ENV{PORT};
  }
' 2>/dev/null)
[ -n "$dirs" ] || { echo "no cluster is set up there"; exit 3; }

pids() {
  # shellcheck disable=SC2016  # the root's shell expands it
  printf '%s\n' "$dirs" | as_root sh -c '
    while IFS= read -r d; do
      for p in /proc/[0-9]*; do
        [ "$p/cwd" -ef "$d" ] || continue
        case $(readlink "$p/exe") in
          */postgres | */postgres\ *) echo "${p#/proc/}" ;;
        esac
      done
    done'
}
