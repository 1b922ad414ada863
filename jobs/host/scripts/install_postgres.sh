# shellcheck shell=sh
# Installs PostgreSQL from the distribution: the major version $1, or whichever it has. No
# cluster is made with it. What is there already stays as it is.

wanted=$1
v=$wanted
[ -n "$v" ] || v=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null |
  grep -E '^[0-9]+$' | sort -n | tail -n 1)
if [ -n "$v" ] && [ -x "/usr/lib/postgresql/$v/bin/postgres" ] &&
  command -v pg_createcluster >/dev/null && command -v openssl >/dev/null &&
  perl -MJSON -e 1 2>/dev/null; then
  echo "PostgreSQL $v is installed"
  exit 0
fi

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

install() {
  apt update
  apt install -y --no-install-recommends postgresql-common libjson-perl openssl
  as_root mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" |
    as_root tee /etc/postgresql-common/createcluster.d/drover.conf >/dev/null
  apt install -y "postgresql${wanted:+-$wanted}"
}
background install install
echo "installed PostgreSQL ${wanted:-of the distribution}"
