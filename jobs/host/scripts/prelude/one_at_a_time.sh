# shellcheck shell=sh disable=SC2154  # d: prelude/cluster.sh
# lock_data SECONDS has the lock on the data directory for as long as the script runs, or
# fails. Their owner holds it, for nobody else may open them; it ends with our descriptor 9,
# which nothing that stays behind must have.

lock_data() {
  q=$(mktemp -d) && mkfifo -- "$q/in" "$q/out" || return 1
  as_owner flock -w "$1" -o -- "$d" sh -c 'echo held; cat' \
    <"$q/in" >"$q/out" 2>/dev/null 3<&- &
  exec 9>"$q/in" 8<"$q/out"
  rm -rf -- "$q"
  held=
  IFS= read -r held <&8
  [ "$held" = held ]
}
