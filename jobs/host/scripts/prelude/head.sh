# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# What every script begins with; the runner puts it there, and ends it with tail.sh.
#
# $mark is the runner's for this run: what stands between two lines of it is the script's
# report, and what a login shell says before it is not; a line that begins with it is for the
# runner alone. $clock is the server's, read as soon as the command arrived. What a script
# reads is its descriptor 3, out of the way of all that happens to read its input. $system and
# $home are what the cluster that it is about is known by beside its port: its system
# identifier and its data directory; empty where that is not known.

mark=$1 system=$2 home=$3
shift 3
export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
clock=$(date +%s.%N)
exec 3<&0 </dev/null
cd / || exit 1
printf '%s\n' "$mark"

# tell KEY VALUE is a line of the report that the runner finds by its key.
tell() { printf '%s\t%s\n' "$1" "$2"; }
