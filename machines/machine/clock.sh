# shellcheck shell=sh
# Moves this machine's wall clock by $1 seconds (as in +3600 or -60). libfaketime reads its
# file again each second; who was started without it keeps the true time.
if [ "$1" = +0 ]; then
  rm -f /etc/ld.so.preload /etc/faketimerc
  exit
fi
for l in /usr/lib/*/faketime/libfaketimeMT.so.1; do
  [ -e "$l" ] || { echo 'libfaketime is not installed' >&2; exit 1; }
  printf '%s\n' "$1" >/etc/faketimerc.new
  mv /etc/faketimerc.new /etc/faketimerc
  printf '%s\n' "$l" >/etc/ld.so.preload.new
  mv /etc/ld.so.preload.new /etc/ld.so.preload
done
