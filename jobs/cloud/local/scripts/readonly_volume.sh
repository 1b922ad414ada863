#!/bin/sh
# Makes the filesystem that is mounted from $1 read-only, as Linux does after an error of the
# disk; what writes there dies of it. $2: boot, until it is mounted anew, or reattach: the disk
# too.

m=$(findmnt -nro TARGET -S "$1" | head -n 1)
[ -n "$m" ] || { echo "its volume is not mounted"; exit 1; }
kill_all() {
  for p in /proc/[0-9]*; do
    case $(readlink "$p/cwd") in "$m"/*) kill -KILL "${p#/proc/}" ;; esac
  done
}
if [ "$(findmnt -nro FSTYPE -M "$m")" = ext4 ]; then
  # It says that it failed, because it did what it was asked to.
  mount -o remount,abort "$m" 2>/dev/null
  kill_all
else
  for _ in 1 2 3 4 5; do
    kill_all
    sleep 0.1
    mount -o remount,ro "$m" 2>/dev/null && break
  done
fi
[ "$2" != reattach ] || blockdev --setro "$1" || exit
! touch "$m/writable" 2>/dev/null || { rm -f "$m/writable"; echo "it stays writable"; exit 1; }
