# shellcheck shell=sh disable=SC2154  # mark: prelude/head.sh
# What ends every script: a report without its second mark was cut off.

status=$?
printf '\n%s\n' "$mark"
exit $status
