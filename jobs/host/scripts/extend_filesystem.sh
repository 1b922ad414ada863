# shellcheck shell=sh
# Has the filesystem at the mount point $1 take the room of its disk. The cloud makes the
# disk larger; partition and filesystem follow here, where the cloud does not do that too.

export LC_ALL=C
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

{ read -r src fs; } <<END
$(findmnt -no SOURCE,FSTYPE --target "$1")
END
case $src in
  /dev/*) ;;
  *) exit 0 ;;
esac

disk=$(lsblk -no PKNAME "$src" 2>/dev/null | head -n 1)
part=$(cat "/sys/class/block/${src##*/}/partition" 2>/dev/null)
if [ -n "$disk" ] && [ -n "$part" ]; then as_root growpart "/dev/$disk" "$part" 2>&1; fi
case $fs in
  ext2 | ext3 | ext4) as_root resize2fs "$src" 2>&1 ;;
  xfs) as_root xfs_growfs "$1" 2>&1 ;;
  btrfs) as_root btrfs filesystem resize max "$1" 2>&1 ;;
  *) echo "drover does not know how to make $fs larger" ;;
esac
exit 0
