# shellcheck shell=sh disable=SC2016  # sed expands it
# Run as root: puts drover-root on a server. $1 is the program, $2 whose signature a newer one
# needs, $3 what drover's login may do by sudo. Each file is there whole, or as it was; what
# the login may do comes last. A program that is newer than this one stays.

set -e
umask 022
mkdir -p /etc/drover /usr/local/sbin

# put FILE MODE TEXT. sudo reads no file with a dot in its name: none that is half written.
# One that is no sudoers file would keep everybody from sudo.
put() {
  printf %s "$3" >"$1.new"
  chmod "$2" "$1.new"
  sync "$1.new"
  case $1 in
    /etc/sudoers.d/*) visudo -cqf "$1.new" || { rm -f "$1.new"; exit 1; } ;;
  esac
  mv -fT "$1.new" "$1"
  sync "$(dirname "$1")"
}

number() { sed -n 's/^my $VERSION = \([0-9]\{1,9\}\);$/\1/p'; }

p=/usr/local/sbin/drover-root
there=$(number 2>/dev/null <"$p" || :)
[ "${there:-0}" -gt "$(printf %s "$1" | number)" ] || put "$p" 755 "$1"
put /etc/drover/allowed_signers 644 "$2"
put /etc/sudoers.d/zz-drover-root 440 "$3"
