# shellcheck shell=sh disable=SC2154  # c: prelude/owner.sh; address: the script behind this
# certify gives the cluster a key and a certificate for $address; the private half never
# leaves the server.

certify() {
  case $address in
    *:*) san=IP:$address ;;
    *[!0-9.]*) san=DNS:$address ;;
    # Up to version 14, libpq looks for an address among the names alone.
    *) san=IP:$address,DNS:$address ;;
  esac
  k=$(mktemp -d)
  trap 'rm -rf "$k"' EXIT
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -sha256 \
    -subj "/CN=$c" -addext "subjectAltName=$san" -addext "basicConstraints=critical,CA:FALSE" \
    -keyout "$k/key" -out "$k/crt" 2>/dev/null
  put server.crt 644 <"$k/crt"
  put server.key 600 <"$k/key"
}
