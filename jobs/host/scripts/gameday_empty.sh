# shellcheck shell=sh disable=SC2154  # file: prelude/gameday_volume.sh
# Takes back what gameday_fill.sh has done.

as_owner rm -f -- "$file" || exit 5
echo "$file is gone"
