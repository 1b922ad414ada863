#!/bin/sh
# Starts cluster $1/$2, if it is down. systemd does not tell whether that has succeeded.

pg_ctlcluster "$1" "$2" start
read -r _ _ _ status _ _ log <<END
$(pg_lsclusters -h "$1" "$2")
END
case $status in online*) exit 0 ;; esac
tail -n 3 -- "$log"
exit 1
