# shellcheck shell=sh
# Makes a filesystem on the data volume $1 if there is none, and mounts it where Debian's
# PostgreSQL keeps its clusters. A volume with anything on it is never made anew.

m=/var/lib/postgresql
mountpoint -q "$m" && { echo "it is mounted at $m"; exit 0; }

serial=$(printf %s "$1" | tr -d -)
dev=
for l in /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"$serial" /dev/sdf /dev/xvdf; do
  [ -b "$l" ] && { dev=$(readlink -f "$l"); break; }
done
[ -n "$dev" ] || { echo "volume $1 is not attached yet"; exit 75; }

install() { drover_root install_xfs; }
[ -x /usr/sbin/mkfs.xfs ] || background xfs install

take_word
out=$(drover_root mount_data "$dev")
case $? in
  0) echo "it is mounted at $m" ;;
  78) echo "volume $1: $out"; exit 78 ;;
  *) echo "volume $1 cannot be mounted: $out"; exit 1 ;;
esac
