# shellcheck shell=sh disable=SC2154  # v, c: prelude/cluster.sh
# Which cluster it is, and which postmaster works there.

tell cluster "$v/$c"
tell postmaster "$(postmaster)"
