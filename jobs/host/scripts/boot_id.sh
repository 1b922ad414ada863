# shellcheck shell=sh
# The id that the kernel made for this boot.

tell boot_id "$(cat /proc/sys/kernel/random/boot_id)"
