#!/bin/sh
# Each boot of a machine has an id of its own, though the kernel is the host's.

[ "$*" != /proc/sys/kernel/random/boot_id ] || set -- "${0%/*/*}/boot_id"
exec /bin/cat "$@"
