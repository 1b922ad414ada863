# shellcheck shell=sh disable=SC2034,SC2154  # conf: prelude/cluster.sh; address: prelude/certify.sh
# Has the cluster show a certificate for the address $2 from now on, and prints it.

address=$2
certify
look
p=$(lock_line 1)
! works "$p" || signal HUP "$p"
cat "$conf/server.crt"
