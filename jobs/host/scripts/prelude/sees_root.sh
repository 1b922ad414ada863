# shellcheck shell=sh
# Before a script that needs root, or may only change a server on which drover has it.

if ! may_root; then
  echo "not proved: $(id -un) cannot become root ($(no_sudo root)), and does not see what others run"
  exit 77
fi
