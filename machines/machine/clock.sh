# shellcheck shell=sh
# Moves this machine's wall clock. Reads the offset, 8 bytes, and then the library. The
# offset is written over the one before, which processes have mapped. $1: on or off.
umask 022
dd bs=8 count=1 iflag=fullblock of=/etc/machine-clock conv=notrunc status=none
if [ "$1" = off ]; then
  rm -f /etc/ld.so.preload
  exit
fi
cat >/usr/lib/machine-clock.new
mv /usr/lib/machine-clock.new /usr/lib/machine-clock.so
echo /usr/lib/machine-clock.so >/etc/ld.so.preload.new
mv /etc/ld.so.preload.new /etc/ld.so.preload
