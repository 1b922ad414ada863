# shellcheck shell=sh
# Whether a server reaches the PostgreSQL at $1 port $2; 9, if it does not.

q=pg_isready
for one in /usr/lib/postgresql/*/bin/pg_isready; do
  [ ! -x "$one" ] || q=$one
done
timeout 8 "$q" -q -t 5 -h "$1" -p "$2" </dev/null
[ $? -lt 2 ] || exit 9
exit 0
