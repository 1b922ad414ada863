#!/bin/sh
# Mounts the volume with the device $1 anew, writable. What runs there is stopped.
set -eu

blockdev --setrw "$1"
m=/var/lib/postgresql
for p in /proc/[0-9]*; do
  case $(readlink "$p/cwd") in "$m"/*) kill -KILL "${p#/proc/}" ;; esac
done
! mountpoint -q "$m" || umount "$m" || { sleep 1; umount "$m"; }
mount "$m"
