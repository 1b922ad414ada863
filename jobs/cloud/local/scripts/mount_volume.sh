#!/bin/sh
# Mounts the volume with the device $1 where Debian's PostgreSQL keeps its clusters, at each
# boot too; one that is empty gets a filesystem: xfs, which grows everywhere, if it is not too
# small for that.
set -eu

m=/var/lib/postgresql
! mountpoint -q "$m" || exit 0
fs=xfs
[ "$(blockdev --getsize64 "$1")" -ge 314572800 ] || fs=ext4
blkid -p "$1" >/dev/null || "mkfs.$fs" -q "$1"
grep -q " $m " /etc/fstab ||
  echo "UUID=$(blkid -o value -s UUID "$1") $m auto defaults,nofail,noatime 0 2" >>/etc/fstab
mkdir -p "$m"
mount "$m"
chown postgres:postgres "$m"
