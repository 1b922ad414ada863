# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh
# $a is the archiver's pid; hung prints pid and birth (in ticks since boot) of everything
# under a child of it that is older than $2 seconds. stat_of PID sets $ppid and $born.

stat_of() {
  IFS= read -r x <"/proc/$1/stat" || return 1
  x=${x##*) }
  # shellcheck disable=SC2086  # the fields of the line
  set -- $x
  ppid=$2 born=${20}
}

m=$(as_owner sed -n 1p -- "$d/postmaster.pid")
old=$2

# A backend's title could begin as the archiver's does (a role of that name), but ends with
# its address and its state.
archiver() {
  doing='archiving|last was|failed on'
  title="^postgres: (.*: )?archiver *(($doing) [0-9A-F]{8}[0-9A-Za-z.]*)? *\$"
  for t in /proc/[0-9]*; do
    if stat_of "${t#/proc/}" && [ "$ppid" = "$m" ] && tr '\0' ' ' <"$t/cmdline" | grep -qE "$title"; then
      echo "${t#/proc/}"
      return
    fi
  done
} 2>/dev/null

hung() {
  [ -n "$a" ] || return 0
  for t in /proc/[0-9]*; do
    stat_of "${t#/proc/}" && echo "${t#/proc/} $ppid $born"
  done 2>/dev/null |
    awk -v a="$a" -v up="$(cut -d' ' -f1 /proc/uptime)" -v hz="$(getconf CLK_TCK)" -v old="$old" '
      { parent[$1] = $2; born[$1] = $3 }
      END {
        for (p in parent) {
          c = p; n = 0
          while (c in parent && parent[c] != a && n++ < 64) c = parent[c]
          if (c in parent && parent[c] == a && up - born[c] / hz >= old) print p, born[p]
        }
      }'
}

a=$(archiver)
