#!/bin/sh
# Makes a machine of a fresh debootstrap. Runs once, chrooted into it, with its package
# cache mounted and the network of the host.
#
#   PACKAGES  what is installed
#   OFFERED   what a machine may install later: machines have no way out, so the packages
#             lie in the image, as a repository of files
#   OTHER     another release, and OTHER_PACKAGES what comes from it
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

# Nothing is started here, and no cluster is made: machines do both.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/image.conf

get() { apt-get -qq -o Dpkg::Use-Pty=0 -o APT::Keep-Downloaded-Packages=true "$@"; }
get update
# shellcheck disable=SC2086  # a list
get install -y --no-install-recommends $PACKAGES

if [ -n "$OTHER" ]; then
  sed "s/^deb \([^ ]*\) [^ ]* /deb \1 $OTHER /" /etc/apt/sources.list >/etc/apt/sources.list.d/other.list
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$OTHER" >/etc/apt/preferences.d/other
  get update
  # shellcheck disable=SC2086
  get install -y --no-install-recommends $OTHER_PACKAGES
  rm /etc/apt/sources.list.d/other.list /etc/apt/preferences.d/other
fi

# A cluster may have been made on purpose only.
pg_lsclusters -h 2>/dev/null | grep . && { echo 'a cluster was made' >&2; exit 1; }

r=/usr/share/machine-packages
mkdir -p "$r/partial"
if [ -n "$OFFERED" ]; then
  # shellcheck disable=SC2086
  get -o Dir::Cache::archives="$r" install -y --download-only $OFFERED
fi
rm -rf "$r/partial" "$r/lock"
: >"$r/Packages"
for p in "$r"/*.deb; do
  [ -e "$p" ] || continue
  dpkg-deb -f "$p"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${p##*/}" "$(stat -c %s "$p")" \
    "$(sha256sum "$p" | cut -d' ' -f1)"
done >>"$r/Packages"
rm -f /etc/apt/sources.list.d/* /var/lib/apt/lists/*_* /etc/apt/apt.conf.d/*proxy*
echo "deb [trusted=yes] file:$r ./" >/etc/apt/sources.list
get update

# cloud-init reads what EC2 would say, and leaves network and packages alone.
cat >/etc/cloud/cloud.cfg.d/90_machine.cfg <<'END'
datasource_list: [Ec2]
datasource:
  Ec2:
    strict_id: false
    metadata_urls: ["http://169.254.169.254"]
    max_wait: 60
    timeout: 5
network: {config: disabled}
apt: {preserve_sources_list: true}
growpart: {mode: "off"}
resize_rootfs: false
manage_etc_hosts: false
# What user data ask for, and no more: each of the others costs a boot its time.
cloud_init_modules: [bootcmd, write-files, growpart, resizefs, disk_setup, mounts, set_hostname, update_hostname, users-groups, ssh]
cloud_config_modules: [set-passwords, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message, power-state-change]
END
# Nor is there another cloud to look for.
echo 'policy: enabled' >/etc/cloud/ds-identify.cfg
# It takes EC2 for EC2, and asks for version 2 of the metadata, where the hypervisor's name
# begins so. A container's hypervisor says nothing: this file speaks for it.
echo ec2e1916-9099-7caf-fd21-012345abcdef >/usr/lib/hypervisor-uuid
e=/usr/lib/python3/dist-packages/cloudinit/sources/DataSourceEc2.py
grep -q '"/sys/hypervisor/uuid"' "$e"
sed -i 's,"/sys/hypervisor/uuid","/usr/lib/hypervisor-uuid",' "$e"
python3 -m compileall -q "$e"
for s in cloud-init-main cloud-init-local cloud-init-network cloud-init cloud-config cloud-final; do
  [ ! -e "/lib/systemd/system/$s.service" ] || systemctl -q enable "$s.service"
done
# Before there is a network, EC2 has nothing to say. Where each stage is a program of its own,
# the first one does nothing but start.
[ -e /lib/systemd/system/cloud-init-main.service ] || systemctl -q mask cloud-init-local.service
systemctl -q enable ssh.service
systemctl -q disable ssh.socket 2>/dev/null || true

# In a container systemd passes over the disks of fstab, and there is no udev to announce
# them: this mounts them at each boot.
cat >/etc/systemd/system/machine-volumes.service <<'END'
[Unit]
Description=The volumes of fstab
DefaultDependencies=no
After=systemd-remount-fs.service
Before=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/bin/mount -a
[Install]
WantedBy=local-fs.target
END
systemctl -q enable machine-volumes.service

# What a machine has no use for, or must not have: a way to the host's devices, and the
# clocks of timers that work on nothing.
for u in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
  apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  systemd-udevd.service systemd-journal-flush.service console-getty.service \
  dev-hugepages.mount sys-kernel-debug.mount; do
  systemctl -q mask "$u"
done

# Every machine makes its own of these.
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id /etc/hostname /etc/resolv.conf
: >/etc/machine-id
: >/etc/resolv.conf
: >/etc/fstab
echo 'LANG=C.UTF-8' >/etc/default/locale
passwd -q -d root && passwd -q -l root
rm -f /usr/sbin/policy-rc.d
rm -rf /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /var/log/*.log /var/log/apt \
  /var/cache/apt/*.bin /var/lib/cloud
