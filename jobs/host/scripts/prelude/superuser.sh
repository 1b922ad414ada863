# shellcheck shell=sh disable=SC2154  # d, v, c, o: prelude/owned.sh
# sql runs the SQL that it reads, with psql's options as its arguments. $s is the socket's
# directory, $u the superuser, $q psql. Status 5: there is no way in.
#
# The settings of these sessions are their own: a cluster that was made read-only or waits
# for a lost standby is mended all the same, and no setting of the role's puts other
# functions before PostgreSQL's.

s=$(as_owner sed -n 5p -- "$d/postmaster.pid" 2>/dev/null)
port=$1
[ -n "$s" ] || { echo "cluster $v/$c does not run, or has no local socket"; exit 5; }
q=/usr/lib/postgresql/$v/bin/psql
[ -x "$q" ] || q=psql
settings='-c search_path=pg_catalog -c default_transaction_read_only=off'
settings="$settings -c synchronous_commit=local -c client_min_messages=warning -c lc_messages=C"

sql() {
  as_owner env PGDATABASE="$b" PGAPPNAME=drover PGCONNECT_TIMEOUT=5 \
    PGOPTIONS="-c statement_timeout=10s -c lock_timeout=5s $settings" \
    "$q" -XqAtw -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$s" -p "$port" -U "$u" "$@"
}

login() {
  for b in postgres template1; do
    for u in postgres "$o"; do
      # What it remarks (that the library has newer collations, at each login) is no answer.
      e=$(sql -c 'show is_superuser' </dev/null 2>/dev/null) && [ "$e" = on ] && return
    done
  done
  e=$(sql -c 'show is_superuser' </dev/null 2>&1)
  echo "the local socket of $v/$c lets no superuser in: $e"
  exit 5
}
login
