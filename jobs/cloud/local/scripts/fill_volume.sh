#!/bin/sh
# Fills what PostgreSQL's data are on but for $1 bytes, and prints how many that took. With no
# $1, takes the file away that did.

m=$(findmnt -nro TARGET --target /var/lib/postgresql)
case $m in '' | /) echo "its volume is not mounted"; exit 1 ;; esac
rm -f -- "$m/ballast" || exit
[ -n "$1" ] || exit 0
sync -f "$m"
n=$(($(df -B1 --output=avail "$m" | tail -n 1) - $1))
[ "$n" -gt 0 ] || { echo "its volume has $(((n + $1) / 1048576)) MiB left, no more than that"; exit 1; }
fallocate -l "$n" "$m/ballast" && echo "$n"
