#!/bin/sh
# shellcheck disable=SC1091,SC2154  # storage, sockets, address: folders, made with the machine
# Debian's, with the folders and the address of this machine. The data that a try before
# has left go. Whoever gets at the sockets is superuser.

version='' name=''
for word in "$@"; do
  [ "$word" != -- ] || break
  version=$name name=$word
done
here=${0%/*/*}
. "$here/folders"
conf=$PG_CLUSTER_CONF_ROOT/$version/$name/postgresql.conf
[ -e "$conf" ] || rm -rf -- "${storage:?}/data/${name:?}"
/usr/bin/pg_createcluster --createclusterconf="$here/createcluster.conf" \
  -s "$sockets" -l "$storage/log/$name.log" "$@" --auth-local=trust || exit
# The other addresses of this host are other machines'. This is the last word: it stands
# behind the line that includes conf.d.
echo "listen_addresses = '$address'" >>"$conf"
