# shellcheck shell=sh disable=SC2154  # v, c, d, u, o, conf: the script or prelude behind this
# as_owner COMMAND … does something as the owner of the cluster, $o with the number $u. What
# is below its data and its configuration is never touched in any other way: whoever owns a
# folder may put a link to somebody else's file into it.

as_owner() {
  if [ "$(id -u)" = "$u" ]; then
    "$@"
  elif [ "$(id -u)" = 0 ]; then
    setpriv --reuid="$o" --regid="$(id -g -- "$o")" --init-groups --reset-env \
      env LC_ALL=C "$@"
  else
    sudo -n -u "$o" -- "$@"
  fi
}

# debians_owner is whom a cluster belongs to of which nothing is known yet, or no more.
debians_owner() {
  o=postgres
  u=$(id -u -- "$o" 2>/dev/null)
}

# in_conf COMMAND … does it in the directory of the configuration, which has to be the
# owner's or root's at that moment; in_data in that of the data.
in_conf() { in_dir "$conf" "$@"; }
in_data() { in_dir "$d" "$@"; }
# shellcheck disable=SC2016  # the owner's shell expands it
in_dir() {
  as_owner sh -c '
    cd -P -- "$1" || exit 1
    case $(stat -c %u .) in
      0 | "$(id -u)") ;;
      *) echo "$1 belongs to somebody else" >&2; exit 1 ;;
    esac
    shift
    "$@"' in_dir "$@"
}

# prove_owner has $d be the real path of the data, and ends the script (77) unless the login
# may act as their owner, and that is proved: the data are theirs, the configuration theirs
# or root's, and so is every link on the way. Otherwise the owner of one cluster could have
# drover act as another's, or as the login itself.
prove_owner() {
  if [ "$u" = 0 ] || [ -z "$o" ]; then
    echo "not proved: cluster $v/$c belongs to ${o:-user $u}, as whom drover does nothing"
    exit 77
  fi
  # shellcheck disable=SC2016  # perl's
  r=$(as_owner perl -e '
    # The real path and the number of the owner of what is there; none if nothing is.
    sub at {
      my @rest = split m{/}, shift;
      my ($at, $links) = ("", 0);
      while (@rest) {
        my $name = shift @rest;
        next if $name eq "" || $name eq ".";
        if ($name eq "..") { $at =~ s{/[^/]*\z}{}; next }
        my @s = lstat "$at/$name";
        if (!@s) {
          return (join("/", $at, $name, @rest), undef) if $!{ENOENT};
          refuse("$at/$name: $!");
        }
        if (-l _) {
          refuse("$at/$name is a link of another user") if $s[4] && $s[4] != $>;
          refuse("$at/$name: too many links") if $links++ > 20;
          my $to = readlink "$at/$name";
          $at = "" if $to =~ m{^/};
          unshift @rest, split m{/}, $to;
          next;
        }
        $at .= "/$name";
      }
      return ($at, (lstat $at)[4]);
    }
    sub refuse { print "no @_\n"; exit }
    use Errno;
    my ($conf, $data) = @ARGV;
    for my $path ($conf, "$conf/postgresql.conf", "$conf/conf.d") {
      my ($at, $of) = at($path);
      refuse("$at belongs to another user") if $of && $of != $>;
    }
    my ($at, $of) = at($data);
    refuse("$at belongs to another user") if defined $of && $of != $>;
    print "ok $at\n";' "$conf" "$d" 2>/dev/null)
  case $r in
    "ok "*) d=${r#ok } ;;
    "no "*) echo "not proved: whose cluster $v/$c is: ${r#no }"; exit 77 ;;
    *)
      echo "not proved: $(id -un) cannot become $o ($(no_sudo "$o")), and does not see what $o runs"
      exit 77
      ;;
  esac
}
