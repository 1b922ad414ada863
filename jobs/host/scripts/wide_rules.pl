# wide_rules.pl USER [remove]: as root, tells the lines of sudoers by which this login alone
# may do everything as root without a password, each as `removes FILE LINE` or, where drover
# does not touch it, as `human FILE LINE`; with `remove`, the first are taken out.
#
# Only a plain file of /etc/sudoers.d that sudo reads before the one of drover-root is touched:
# as that one is read last and its rules hold while the others are there, they hold without
# them. Each file is whole, and read by visudo, before it takes the place of the old one.
use strict;
use warnings;
use Fcntl;
use IO::Handle;

my ($user, $remove) = @ARGV;
my ($folder, $ours) = ("/etc/sudoers.d", "zz-drover-root");
my $tags = qr/(?:[A-Z_]+\s*:\s*)*/;
my $wide = qr/\A\s*\Q$user\E\s+ALL\s*=\s*(?:\(\s*(?:ALL|root)\s*(?::\s*[A-Za-z]+\s*)?\)\s*)?
  ${tags}NOPASSWD\s*:\s*${tags}ALL\s*(?:,[^:=\\]*)?\z/x;

sub fails { print "$_[0]\n"; STDOUT->flush; exit 1 }

sub lines {
  open my $file, "<", $_[0] or fails("$_[0]: $!");
  return <$file>;
}

# Which of these lines are wide. One that goes on behind its end, or before its beginning, is
# none that this could read.
sub wide {
  my @wide;
  for my $n (0 .. $#_) {
    my $line = $_[$n] =~ s/\s*(?:#.*)?\n?\z//r;
    push @wide, $n if $line =~ $wide && !($n && $_[$n - 1] =~ /\\\n\z/);
  }
  return @wide;
}

sub without {
  my ($name, @lines) = @_;
  my @is = stat "$folder/$name" or fails("$folder/$name: $!");
  my $beside = "$folder/.$name.drover";
  unlink $beside;
  sysopen my $new, $beside, O_WRONLY | O_CREAT | O_EXCL, $is[2] & 07777 or fails("$beside: $!");
  chown $is[4], $is[5], $beside or fails("$beside: $!");
  (print $new @lines) && $new->flush && $new->sync && close $new or fails("$beside: $!");
  if (system("visudo", "-cqf", $beside) != 0) {
    unlink $beside;
    fails("visudo does not take $folder/$name without its line for $user: somebody has to mend it");
  }
  rename $beside, "$folder/$name" or fails("$folder/$name: $!");
  open my $synced, "<", $folder or fails("$folder: $!");
  $synced->sync or fails("$folder: $!");
}

sub told {
  my ($what, $file, $line) = @_;
  print "$what\t$file\t", $line =~ s/\s+/ /gr =~ s/\A | \z//gr, "\n";
}

opendir my $files, $folder or fails("$folder: $!");
for my $name (sort grep { !/[.]|~\z/ } readdir $files) {
  my $file = "$folder/$name";
  next if $name eq $ours || !-f $file;
  my @lines = lines($file);
  my %wide = map { $_ => 1 } wide(@lines) or next;
  my $may = $name lt $ours && !-l $file && (stat _)[4] == 0;
  told($may ? "removes" : "human", $file, $lines[$_]) for sort { $a <=> $b } keys %wide;
  without($name, @lines[grep { !$wide{$_} } 0 .. $#lines]) if $may && ($remove // "") eq "remove";
}
my @lines = lines("/etc/sudoers");
told("human", "/etc/sudoers", $lines[$_]) for wide(@lines);
