# shellcheck shell=sh disable=SC2154,SC2034  # dirs: prelude/gameday_clusters.sh; file: behind this
# $file is ours on $m, the filesystem of the first data directory, which must not be the
# machine's own.

d=$(printf '%s\n' "$dirs" | head -n 1)
m=$(df --output=target -- "$d" | tail -n 1)
[ -n "$m" ] || { echo "the volume of $d is not known"; exit 5; }
file=${m%/}/drover-gameday.fill
