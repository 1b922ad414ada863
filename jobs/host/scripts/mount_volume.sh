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

what=$(as_root blkid -p -o export "$dev" 2>/dev/null | grep -E '^(TYPE|PTTYPE)=')
case $what in
  '') as_root mkfs.ext4 -q -L drover-data "$dev" || exit 1 ;;
  TYPE=ext4) ;;
  *) echo "volume $1 holds something that drover did not put there ($what)"; exit 78 ;;
esac
u=$(as_root blkid -o value -s UUID "$dev")
[ -n "$u" ] || { echo "volume $1 has no filesystem"; exit 1; }

as_root mkdir -p "$m"
grep -q " $m " /etc/fstab ||
  printf 'UUID=%s %s ext4 defaults,nofail,noatime 0 2\n' "$u" "$m" |
  as_root tee -a /etc/fstab >/dev/null
as_root mount "$m" || exit 1
echo "it is mounted at $m"
