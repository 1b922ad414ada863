#!/bin/sh
# Sends signal $3 to all of cluster $1/$2, the postmaster first: stopped, it starts no more
# children. Prints how many processes that were.

read -r _ _ _ _ _ data _ <<END
$(pg_lsclusters -h "$1" "$2")
END
[ -n "$data" ] || { echo "there is no cluster $1/$2"; exit 1; }
d=$(readlink -f -- "$data") || { echo 0; exit; }
# Where machines are processes, all of the host's are seen here: in one go.
all() { find /proc/[0-9]*/cwd -maxdepth 0 -lname "$d" 2>/dev/null | cut -d / -f 3; }
most=$(all | wc -l)
[ "$3" != 0 ] || { echo "$most"; exit; }
first=
[ ! -e "$d/postmaster.pid" ] || read -r first <"$d/postmaster.pid"
[ "$(readlink "/proc/$first/cwd")" != "$d" ] || kill "-$3" "$first" 2>/dev/null
# One that it was just starting is seen in the next round; what is killed has to be gone.
for _ in 1 2 3; do
  found=$(all)
  [ -n "$found" ] || break
  for p in $found; do kill "-$3" "$p" 2>/dev/null; done
  sleep 0.05
done
echo "$most"
