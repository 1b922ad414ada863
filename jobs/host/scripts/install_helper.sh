# shellcheck shell=sh disable=SC2154  # helper: its text, which the runner puts here
# Has root put drover-root here, by the sudo that the login has for all. $1 is put_helper.sh,
# $2 whose signature a newer one needs, $3 what the login may do from then on.

if ! sudo -n -- true 2>/dev/null; then
  echo "not proved: $(id -un) cannot become root by sudo"
  exit 77
fi
out=$(sudo -n -- sh -c "$1" put_helper "$helper" "$2" "$3" 2>&1) || {
  echo "drover-root is not installed: ${out:-nobody says why}"
  exit 1
}
echo "drover-root is installed"
