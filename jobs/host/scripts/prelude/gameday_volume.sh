# shellcheck shell=sh disable=SC2154,SC2034  # d, clusters: preludes before this; file: behind this
# $file is ours on $m, the filesystem of the first data directory, which must not be the
# machine's own: at its top, if the owner of the data may write there, else beside the data.

take <<END
$clusters
END
prove_owner
m=$(as_owner df --output=target -- "$d" | tail -n 1)
[ -n "$m" ] || { echo "the volume of $d is not known"; exit 5; }
file=${m%/}/drover-gameday.fill
as_owner test -w "$m" || file=${d%/*}/drover-gameday.fill
