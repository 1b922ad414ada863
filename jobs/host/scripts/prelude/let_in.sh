# shellcheck shell=sh
# let_in has clients let in again: it takes back what fence.sh has done.

let_in() {
  in_conf sh -c '
    [ ! -e pg_hba.conf.unfenced ] || mv -fT pg_hba.conf.unfenced pg_hba.conf'
}
