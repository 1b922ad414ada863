# shellcheck shell=sh
# What drover's login may do here: which drover-root it may use, and whether by a rule of its
# own; whether it may act as the owner of Debian's clusters; and, if $1 is `rights`, whether it
# may do all as root, which a server that refuses that writes down. All that is done here is
# done as sudo lets the login do it.

may() { timeout 5 sudo -n "$@" 2>/dev/null; }

tell login "$(id -un)"
tell version "$(may /usr/local/sbin/drover-root version)"
rules=$(may -l)
# rule RUNAS COMMAND
rule() { printf '%s\n' "$rules" | grep -qE "^ *\\($1\\) NOPASSWD: $2\$" && echo yes || echo no; }
tell rule "$(rule root /usr/local/sbin/drover-root)"
if ! id -u postgres >/dev/null 2>&1; then
  tell owner none
elif may -u postgres -- true; then
  tell owner "$(rule postgres ALL)"
else
  tell owner no
fi
[ "$1" = rights ] || exit 0
if may -- true; then tell wide yes; else tell wide no; fi
tell others "$(printf '%s\n' "$rules" | grep -E '^ *\(.*\) .*\<ALL\>' |
  grep -vE '^ *\(postgres\) ' | sed 's/^ *//' | head -n 5 | tr '\n' ';')"
