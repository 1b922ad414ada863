# shellcheck shell=sh disable=SC2154  # d, m, file: prelude/gameday_volume.sh
# Fills all but 2 % of the volume. One that is memory is filled only as far as that has room.

if [ "$(stat -c %d -- "$m")" = "$(stat -c %d /)" ]; then
  echo "$d is on the machine's own filesystem, which drover does not fill: only a data volume"
  exit 5
fi
as_owner rm -f -- "$file"
{ read -r size left; } <<END
$(df -B1 --output=size,avail -- "$m" | tail -n 1)
END
bytes=$((left - size / 50))
[ $bytes -gt 0 ] || { echo "$m has less than 2 % free already"; exit 5; }
if [ "$(stat -f -c %T -- "$m")" = tmpfs ]; then
  while read -r k v _; do
    [ "$k" != MemAvailable: ] || free=$((v * 1024))
  done </proc/meminfo
  if [ $bytes -ge $((${free:-0} / 2)) ]; then
    echo "$m is memory of this machine, which has no $((bytes / 1048576)) MiB to spare;" \
      "make servers with a smaller --volume-mib"
    exit 5
  fi
fi
if ! as_owner fallocate -l "$bytes" -- "$file"; then
  as_owner rm -f -- "$file"
  echo "$file cannot be written"
  exit 5
fi
echo "$m is full but for its last 2 %: $file has $((bytes / 1048576)) MiB"
