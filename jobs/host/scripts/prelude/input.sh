# shellcheck shell=sh
# What a script reads is kept as its descriptor 3, out of the way of all that happens to
# read its input.

exec 3<&0 </dev/null
cd / || exit 1
