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

install() { drover_root install_packages ${wanted:+"$wanted"}; }
background install install
echo "installed PostgreSQL ${wanted:-of the distribution}"
