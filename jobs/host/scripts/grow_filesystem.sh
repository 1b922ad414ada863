# shellcheck shell=sh
# Has the filesystem of a volume take its room, and prints its size and its mount point. $1
# is the cloud's id of the volume, $2 its device and $3 its mount point, as far as they are
# known; $4 the bytes that the filesystem is to have at least. Where neither is known, it is
# found by the id, which EC2 gives its disks as a serial number; else it is where
# PostgreSQL's data are. Status 75: the disk is not larger yet, as the server sees it.

m=$3
if [ -z "$m" ] && [ -b "$2" ]; then m=$(findmnt -nro TARGET -S "$2" | head -n 1); fi
if [ -z "$m" ]; then
  e=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(printf %s "$1" | tr -d -)
  [ -b "$e" ] && m=$(findmnt -nro TARGET -S "$(readlink -f "$e")" | head -n 1)
fi
[ -n "$m" ] || m=$(findmnt -nro TARGET --target /var/lib/postgresql)
[ -n "$m" ] || { echo "nobody knows where volume $1 is mounted"; exit 5; }
room() { df -B1 --output=size -- "$m" | tail -n 1 | tr -d ' '; }
enough() { [ "$(room)" -ge "$1" ]; }

if ! enough "$4"; then
  case $(findmnt -nro SOURCE --target "$m") in
    # What the commands say is for people only where they fail.
    /dev/*)
      out=$(drover_root grow_mounted "$m" 2>&1)
      case $? in
        0) ;;
        77) echo "$out"; exit 77 ;;
        *) echo "$out"; exit 5 ;;
      esac
      ;;
  esac
fi
enough "$4" || { echo "$m has $(room) bytes, and not yet those of its volume"; exit 75; }
tell size "$(df -h --output=size -- "$m" | tail -n 1 | tr -d ' ')"
tell mount "$m"
