# shellcheck shell=sh disable=SC2154  # l, d, u: prelude/clusters.sh
# $1 is `look` or `remove`, $2 the ports of the clusters whose logs may go; the mount points
# follow. Only files that logrotate leaves behind, `*.log.N` and `.gz`, on those mounts: of a
# cluster's own log by its name, for other clusters log to the same directory; and in the
# log directories within its data; what the owner may remove. The last line: how many, and
# how many bytes; 77, where there are none but the owner's whom the login cannot become.

delete=
[ "$1" != remove ] || delete=-delete
ports=$2
shift 2

# wanted MOUNT OF …
wanted() {
  m=$1
  shift
  for w; do
    [ "$w" = "$m" ] && return
  done
  return 1
}

# logs_in DIRECTORY NAME MOUNT …: sizes, of those of this name.
logs_in() {
  dir=$1 name=$2
  shift 2
  as_owner test -d "$dir" || return
  wanted "$(as_owner timeout 3 df --output=target -- "$dir" 2>/dev/null | tail -n 1)" "$@" || return
  # In a folder like Debian's own, everybody's files are theirs alone.
  theirs=
  ! as_owner test -k "$dir" || theirs="-user $u"
  # shellcheck disable=SC2086  # nothing, or some words
  as_owner timeout 10 find -P "$dir" -maxdepth 1 -type f $theirs -regextype posix-extended \
    -regex ".*/$name"'(\.[0-9]+|\.gz|\.[0-9]+\.gz)' $delete -printf '%s\n' 2>/dev/null
}

known "$ports" | sort -u | while take; do
  (
    prove_owner
    # A log's name becomes a regular expression, so that odd ones are left out.
    name=$(printf '%s\n' "${l##*/}" | grep -xE '[A-Za-z0-9_.+%=,-]+[.]log' | sed 's/[.+]/[&]/g')
    [ -z "$name" ] || logs_in "${l%/*}" "$name" "$@"
    logs_in "$d/log" '[^/]*[.]log' "$@"
    logs_in "$d/pg_log" '[^/]*[.]log' "$@"
  ) </dev/null
done | awk '
  /^not proved: / { why = $0; next }
  { n += 1; b += $1 }
  END {
    if (!n && why != "") { print why; exit 77 }
    printf "%d %.0f\n", n, b
  }'
