# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh; now: prelude/postmaster.sh
# Which cluster it is, and which postmaster works there.

find_postmaster
tell cluster "$v/$c"
tell postmaster "$now"
