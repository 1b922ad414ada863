# shellcheck shell=sh
# seeing COMMAND … looks as root, who sees everybody's processes.

seeing() { as_root "$@"; }
if ! seeing true 2>/dev/null; then
  echo "not proved: $(id -un) cannot become root, and does not see what others run"
  exit 77
fi
