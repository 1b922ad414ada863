# shellcheck shell=sh
# The id that the kernel made for this boot.

cat /proc/sys/kernel/random/boot_id
