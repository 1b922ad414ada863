# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh or prelude/new_cluster.sh
# A file beside the data keeps a little room for when there is none: PostgreSQL needs a free
# block even to be told to refuse writes. It is its owner's, one for all clusters beside it.

# keep_reserve puts it there, as large as it is to be: 32 MiB, or a hundredth of a smaller
# volume; not where the data are a filesystem of their own, nor where room is short.
keep_reserve() {
  as_owner test -w "${d%/*}" || return 0
  on=$(as_owner stat -c %d -- "$d" "${d%/*}" 2>/dev/null | uniq | grep -c .)
  [ "$on" = 1 ] || return 0
  { read -r size left; } <<END
$(as_owner df -B1 --output=size,avail -- "$d" 2>/dev/null | tail -n 1)
END
  wanted=$((${size:-0} / 100))
  [ "$wanted" -le 33554432 ] || wanted=33554432
  [ $((wanted * 4)) -lt "${left:-0}" ] || return 0
  as_owner fallocate -l "$wanted" -- "${d%/*}/drover-reserve" 2>/dev/null ||
    as_owner rm -f -- "${d%/*}/drover-reserve"
}

# give_room lets half of it go, or all where that is less than 1 MiB, and fails if it holds
# nothing: others write there too, so that not all is offered to them at once. It is cut, for
# some filesystems free what is removed only later.
give_room() {
  has=$(as_owner stat -c %s -- "${d%/*}/drover-reserve" 2>/dev/null)
  [ "${has:-0}" -gt 0 ] || return 1
  half=$((has / 2))
  [ "$half" -ge 1048576 ] || half=0
  as_owner truncate -s "$half" -- "${d%/*}/drover-reserve"
}
