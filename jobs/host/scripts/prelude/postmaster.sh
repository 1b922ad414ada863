# shellcheck shell=sh disable=SC2034  # now: for the scripts behind this
# find_postmaster sets $now to pid and start of the one that works in the data directory: the
# first and third line of its lock file, if it is one of those that run there.

find_postmaster() {
  look
  now=
  p=$(lock_line 1)
  ! works "$p" || now=$p-$(lock_line 3)
}
