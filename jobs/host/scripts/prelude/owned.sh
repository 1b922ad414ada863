# shellcheck shell=sh disable=SC2034  # for the scripts behind this
# What a script begins with that runs as the owner of its cluster: what prelude/head.sh and
# prelude/cluster.sh have found comes as its first arguments. There is nobody to become.

clock=$1 v=$2 c=$3 d=$4 l=$5 o=$6 conf=$7
shift 7
export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
exec 3<&0 </dev/null
cd / || exit 1
tell() { printf '%s\t%s\n' "$1" "$2"; }
as_owner() { "$@"; }
in_conf() { (cd -P -- "$conf" && "$@"); }
