#!/bin/sh
# shellcheck disable=SC1091,SC2154  # storage: folders, made with the machine
# What lies at /var/lib/postgresql on a Debian of its own lies in a folder of this machine.

. "${0%/*/*}/folders"
for word in "$@"; do
  shift
  [ "$word" != /var/lib/postgresql ] || word=$storage
  set -- "$@" "$word"
done
exec /usr/bin/findmnt "$@"
