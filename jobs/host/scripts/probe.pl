# A small write with fsync on each volume that holds a cluster's data, with the data
# directories as arguments: `outcome ms<tab>directory<tab>its real path` for each.
#
# It writes one file of 4 KiB for each filesystem, beside the data directory if that is the
# same filesystem and the login may write there, else in it; there under a name that base
# backups leave out. Root writes as the owner of the data, who could lead it elsewhere, and
# not at all where that is root. A write that hangs cannot be ended from outside, so each has
# a process of its own that holds on to nothing of ours. After 5.5 s it is left behind (to be killed
# when the disk returns), and as long as it is there, no other is sent after it. Nothing here
# but those processes touches the disk; `df` did before, so looking up a path does not hang.

use Fcntl;
use IO::Handle;
use Time::HiRes qw(time sleep);
use Errno qw(EROFS ENOSPC EDQUOT EACCES EPERM);
use Cwd qw(realpath);
use POSIX ();

# The files whose earlier write still hangs, by the names of those processes.
my %hung;
for my $comm (glob "/proc/[0-9]*/comm") {
  open my $f, "<", $comm or next;
  my $name = <$f>;
  next unless defined $name && $name =~ /^drover-probe/;
  $comm =~ s/comm$/cmdline/;
  open $f, "<", $comm or next;
  local $/;
  $name = <$f>;
  $hung{$1} = 1 if ($name // "") =~ /^drover-probe ([^\0]+)/;
}

my (%on, @of, @at);
for my $d (@ARGV) {
  my $real = realpath($d);
  my @s = stat $d;
  next if @s && !$> && !$s[4];
  push @of, [$d, $real, $s[0], @s[4, 5]] if defined $real && @s && $real !~ /[\n\t]/;
}

for my $o (@of) {
  my ($d, $real, $dev, $uid, $gid) = @$o;
  next if $on{$dev};
  my $parent = $real;
  $parent =~ s{/[^/]+$}{};
  my $root = !$>;
  if ($root) { $) = "$gid $gid"; $> = $uid }
  my @s = length $parent ? stat $parent : ();
  my $beside = @s && $s[0] == $dev && -w _;
  if ($root) { $> = 0; $) = "0 0" }
  my $file = $beside ? "$parent/.drover-probe" : "$real/pgsql_tmp.drover-probe";
  if ($hung{$file}) {
    $on{$dev} = "stuck -";
    next;
  }
  pipe my $in, my $out or next;
  my $kid = fork;
  next unless defined $kid;
  if (!$kid) {
    close $in;
    if ($root) {
      $( = $gid;
      $) = "$gid $gid";
      POSIX::setuid($uid);
      exit 1 if $> != $uid;
    }
    write_it($file, $out);
  }
  close $out;
  push @at, [$dev, $in, $kid];
}

my $end = time + 5.5;
for my $a (@at) {
  my ($dev, $in, $kid) = @$a;
  my $left = $end - time;
  $left = 0 if $left < 0;
  my $v = "";
  vec($v, fileno $in, 1) = 1;
  if (select $v, undef, undef, $left) {
    my $line = <$in> // "failed -";
    chomp $line;
    $on{$dev} = $line;
  } else {
    kill "KILL", $kid;
    $on{$dev} = "stuck 5500";
  }
}
print "$on{$_->[2]}\t$_->[0]\t$_->[1]\n" for grep { $on{$_->[2]} } @of;

sub write_it {
  my ($file, $out) = @_;
  $0 = "drover-probe $file";
  setpgrp;
  open STDIN, "<", "/dev/null";
  open STDOUT, ">", "/dev/null";
  open STDERR, ">", "/dev/null";
  my $t = time;
  my $f;
  my $ok = sysopen($f, $file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)
    && (syswrite($f, "\0" x 4096) // 0) == 4096
    && $f->sync;
  my $e = $! + 0;
  my $ms = sprintf "%.1f", (time() - $t) * 1000;
  my $word = $ok ? "ok"
    : $e == EROFS ? "read_only"
    : $e == ENOSPC || $e == EDQUOT ? "no_space"
    : $e == EACCES || $e == EPERM ? "denied"
    : "failed";
  unlink $file if $word ne "denied";
  syswrite $out, "$word $ms\n";
  POSIX::_exit(0);
}
