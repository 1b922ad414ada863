# shellcheck shell=sh disable=SC2154  # v, c, l: prelude/cluster.sh
# All that drover does as root on a server: one function for each verb, which takes nothing on
# trust. None of them reads, writes or follows what is below a cluster's data or its
# configuration. as_root is used nowhere else (bin/layout).

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n -- "$@"; fi
}

may_root() { as_root true 2>/dev/null; }

# checked PATTERN WORD: the word is what this pattern of grep's says, on one line.
checked() {
  if [ "$(printf '%s\n' "$2" | grep -cxE -- "$1")" != 1 ] ||
    [ "$(printf '%s\n' "$2" | wc -l)" != 1 ]; then
    echo "no argument for root: $2" >&2
    return 64
  fi
}
is_version() { checked '[0-9]+([.][0-9]+)?' "$1"; }
is_name() { checked '[A-Za-z0-9_][A-Za-z0-9_.-]*' "$1"; }
is_number() { checked '[0-9]+' "$1"; }
is_device() { checked '(/dev)(/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+' "$1" && [ -b "$1" ]; }

# unit start|stop VERSION NAME SECONDS has systemd start or stop a cluster. What it then does
# as root (pg_ctlcluster, until it becomes the owner) is Debian's, as at each boot.
unit() {
  is_version "$2" && is_name "$3" && is_number "$4" || return
  case $1 in
    start | stop) as_root timeout "$4" systemctl "$1" "postgresql@$2-$3.service" ;;
    *) return 64 ;;
  esac
}

# drop_unit VERSION NAME: what systemd was told of a cluster that is gone is forgotten.
drop_unit() {
  is_version "$1" && is_name "$2" || return
  as_root timeout 10 systemctl disable "postgresql@$1-$2.service" >/dev/null 2>&1
  as_root timeout 10 systemctl reset-failed "postgresql@$1-$2.service" >/dev/null 2>&1
  clusters_changed
}

# clusters_changed: systemd and apt learn which clusters there are, so that they start when
# the machine does, and no upgrade removes their PostgreSQL.
clusters_changed() {
  as_root timeout 20 systemctl daemon-reload >/dev/null 2>&1
  as_root timeout 20 /usr/share/postgresql-common/pg_updateaptconfig >/dev/null 2>&1
  return 0
}

# make_trees VERSION makes the folders of a version for the owner of its clusters, where the
# folder above is root's alone; in any other the owner makes them.
make_trees() {
  is_version "$1" || return
  for at in /etc/postgresql /var/lib/postgresql; do
    [ -n "$(find "$at" -maxdepth 0 -type d -user root ! -perm /022)" ] || continue
    [ ! -e "$at/$1" ] || continue
    as_root mkdir -m 755 -- "$at/$1" || return
    as_root chown -h postgres:postgres -- "$at/$1" || return
  done
}

# mount_data DEVICE makes a filesystem on a device that is empty, and mounts it where Debian's
# PostgreSQL keeps its clusters; 78 if something else is on it. Its top belongs to whom
# Debian's packages would give it.
mount_data() {
  is_device "$1" || return
  what=$(as_root blkid -p -o export "$1" 2>/dev/null | grep -E '^(TYPE|PTTYPE)=')
  case $what in
    '') as_root mkfs.xfs -q -L drover-data "$1" || return 1 ;;
    TYPE=xfs | TYPE=ext4) ;;
    *) echo "it holds something that drover did not put there ($what)"; return 78 ;;
  esac
  what=${what:-TYPE=xfs}
  w=$(as_root blkid -o value -s UUID "$1")
  checked '[0-9A-Fa-f-]+' "$w" || return 1
  as_root mkdir -p /var/lib/postgresql || return 1
  grep -q ' /var/lib/postgresql ' /etc/fstab ||
    printf 'UUID=%s %s %s defaults,nofail,noatime 0 2\n' "$w" /var/lib/postgresql "${what#TYPE=}" |
    as_root tee -a /etc/fstab >/dev/null || return 1
  as_root mount /var/lib/postgresql || return 1
  ! id -u postgres >/dev/null 2>&1 || as_root chown postgres:postgres /var/lib/postgresql
}

# grow_mounted MOUNT has the partition and the filesystem that are mounted there take their
# room; which they are is the kernel's word.
grow_mounted() {
  checked '/[^[:cntrl:]]*' "$1" && mountpoint -q -- "$1" || return 64
  { read -r src fs; } <<END
$(findmnt -nro SOURCE,FSTYPE --mountpoint "$1")
END
  case $fs in
    ext2 | ext3 | ext4 | xfs | btrfs) ;;
    *) echo "drover does not know how to make $fs larger"; return 5 ;;
  esac
  src=${src%%\[*}
  is_device "$src" || return
  disk=$(lsblk -no PKNAME "$src" 2>/dev/null | head -n 1)
  part=$(cat "/sys/class/block/${src##*/}/partition" 2>/dev/null)
  if [ -n "$part" ] && is_device "/dev/$disk" && is_number "$part"; then
    as_root growpart "/dev/$disk" "$part" >/dev/null 2>&1
  fi
  case $fs in
    ext*) as_root resize2fs "$src" ;;
    xfs) as_root xfs_growfs "$1" ;;
    btrfs) as_root btrfs filesystem resize max "$1" ;;
  esac
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

# install_xfs installs what makes and grows the filesystem of a data volume.
install_xfs() {
  apt update || return
  apt install -y --no-install-recommends xfsprogs
}

# install_packages [VERSION] installs PostgreSQL from the distribution, without a cluster.
install_packages() {
  [ -z "$1" ] || checked '[0-9]+' "$1" || return
  apt update || return
  apt install -y --no-install-recommends postgresql-common libjson-perl openssl || return
  as_root mkdir -p /etc/postgresql-common/createcluster.d || return
  echo "create_main_cluster = false" |
    as_root tee /etc/postgresql-common/createcluster.d/drover.conf >/dev/null || return
  apt install -y "postgresql${1:+-$1}"
}
