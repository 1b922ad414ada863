# shellcheck shell=sh disable=SC2154,SC2034  # clock: prelude/head.sh; o, u: prelude/owner.sh
# How a server is: sections, each behind a line `@@ name status`. $1 is probe.pl.
#
# What may hang (`df` on a dead network filesystem, a write to a dead disk) is bounded by
# itself, and all of it together ends within the time that the feeler gives it.

say() { printf '@@ %s %s\n%s\n' "$1" "$2" "$3"; }
take() {
  n=$1
  shift
  r=$("$@" 2>/dev/null)
  say "$n" $? "$r"
}

# Where the login may become the owner of data, the owner writes: nobody else may, there. As
# root, the probe does that by itself.
probed() {
  # shellcheck disable=SC2086
  for u in $(stat -c %u -- $d | sort -u); do
    o=$(id -un -- "$u")
    set --
    for one in $d; do
      [ "$(stat -c %u -- "$one")" != "$u" ] || set -- "$@" "$one"
    done
    if [ "$(id -u)" != 0 ] && [ "$u" != 0 ] && as_owner true; then
      as_owner perl -e "$probe" -- "$@"
    else
      perl -e "$probe" -- "$@"
    fi
  done
}

# A line for each filesystem, however many clusters are on it.
filesystems() {
  timeout 3 df --output=fstype,size,used,avail,itotal,iused,target -B1 / "$@" | awk '!seen[$0]++'
}

# Of all mounts, those of the filesystems that $1 names: a host may have hundreds. What they are
# called is escaped, so that a name with blanks is one word.
mounted() {
  printf '%s\n' "$1" | awk '
    from == "df" {
      for (i = 0; i < 6; i++) sub(/^ *[^ ]+ +/, "")
      wanted[$0] = 1
      next
    }
    {
      at = $2
      gsub(/\\040/, " ", at)
      gsub(/\\134/, "\\", at)
      if (at in wanted) print substr($4, 1, 2), $1, $2
    }' from=df - from=mounts /proc/mounts
}

probe=$1
say clock 0 "$clock"
take boot cat /proc/sys/kernel/random/boot_id
take uptime cat /proc/uptime
take load cat /proc/loadavg
take memory grep -E '^(MemTotal|MemAvailable|SwapTotal|SwapFree):' /proc/meminfo
if command -v pg_lsclusters >/dev/null; then
  j=$(clusters)
  say clusters $? "$j"
  d=$(printf '%s' "$j" | perl -MJSON -e '
    local $/;
    for (@{ JSON::decode_json(<STDIN>) }) {
      print "$_->{pgdata}\n" if $_->{pgdata} && $_->{pgdata} !~ /[\n\t]/;
    }
  ' 2>/dev/null)
else
  say clusters 127 ''
  d=
fi
# A word for each line of the data directories.
set -f
IFS='
'
# shellcheck disable=SC2086
take df filesystems $d
found=$r
take mounts mounted "$found"
if [ -n "$d" ] && [ -n "$found" ]; then
  take probe probed
else
  say probe 0 ''
fi
unset IFS
# Which drover-root the login may use, and which words were obeyed here. Nobody is asked where
# there is none; root needs none.
h=/usr/local/sbin/drover-root
if [ "$(id -u)" = 0 ]; then
  say drover_root 127 ''
  # shellcheck disable=SC2016  # the other shell expands it
  take words sh -c 'cd /var/lib/drover/words && ls | head -n 1000 | while IFS= read -r k; do
    printf "%s %s\n" "$k" "$(head -c 1000 "$k" | head -n 1)"
  done'
elif [ -e "$h" ]; then
  take drover_root timeout 3 sudo -n "$h" version
  take words timeout 3 sudo -n "$h" words
else
  say drover_root 127 ''
  say words 127 ''
fi
