# shellcheck shell=sh disable=SC2154  # v, c, d: prelude/cluster.sh
# Who works in the data directory, as its owner sees it, who is shown all that they run, also
# where /proc hides others' processes; PostgreSQL does not run there as anybody else.
#
# look sets $pids to the PostgreSQL processes that have the directory as their own:
# postmaster and backends, but no zombies, which have none any more, and nobody's shell. It
# ends the script (77) where one is not shown. alive tells whether there is any.

look() {
  # shellcheck disable=SC2016  # perl's
  pids=$(as_owner perl -e '
    use Errno;
    my $d = shift;
    my @at = stat $d;
    # Another machine in the machine may have another /proc.
    (readlink "/proc/$$/cwd") && opendir(my $proc, "/proc") or exit 1;
    for my $p (grep { /^[0-9]+\z/ } readdir $proc) {
      my @s = stat "/proc/$p" or next;
      next if $s[4] != $>;
      my $cwd = readlink "/proc/$p/cwd";
      my $exe = defined $cwd ? readlink "/proc/$p/exe" : undef;
      if (!defined $exe) {
        next if !$!{EACCES} || !open my $f, "<", "/proc/$p/comm";
        exit 1 if (<$f> // "") =~ /^post(gres|master)/;
        next;
      }
      next if $exe !~ m{/postgres( .*)?\z};
      my @in = stat "/proc/$p/cwd";
      my $same = @at && @in && $at[0] == $in[0] && $at[1] == $in[1];
      print "$p\n" if $same || $cwd eq $d || $cwd eq "$d (deleted)";
    }' "$d" 2>/dev/null) || {
    echo "not proved: what runs in the data directory of $v/$c is not shown"
    exit 77
  }
}

alive() {
  look
  [ -n "$pids" ]
}

# works PID: it is one of those that look has found.
works() {
  # shellcheck disable=SC2086  # a word for each
  case " $(printf '%s ' $pids) " in *" $1 "*) [ -n "$1" ] ;; *) return 1 ;; esac
}

# lock_line N prints a line of the postmaster's lock file, which its owner may write.
lock_line() { as_owner sed -n "$1p" -- "$d/postmaster.pid" 2>/dev/null; }

# signal SIGNAL PID … is the owner's, so that it reaches nobody else's processes.
# shellcheck disable=SC2016  # the owner's shell expands it
signal() { as_owner sh -c 's=$1; shift; kill -s "$s" "$@"' signal "$@" 2>/dev/null; }

# gone TENTHS waits until nothing is alive.
gone() {
  tenths=$1
  while alive; do
    tenths=$((tenths - 1))
    [ "$tenths" -gt 0 ] || return 1
    sleep 0.1
  done
}
