# shellcheck shell=sh
# Lets clients in again at a cluster that follows: takes back what fence.sh has done.

in_conf sh -c '
  [ ! -e pg_hba.conf.unfenced ] || mv -fT pg_hba.conf.unfenced pg_hba.conf' || exit 1
