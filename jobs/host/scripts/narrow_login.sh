# shellcheck shell=sh
# The rules by which drover's login may do everything as root without a password; if $2 is
# `remove`, they are taken out, where drover may. $1 is wide_rules.pl.

if ! sudo -n -- true 2>/dev/null; then
  echo "there is none"
  exit 0
fi
sudo -n -- perl -e "$1" -- "$(id -un)" "$2" 2>&1
