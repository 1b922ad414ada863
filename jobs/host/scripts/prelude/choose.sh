# shellcheck shell=sh disable=SC2034,SC2154  # system, home: prelude/head.sh; v, c, d: clusters.sh
# choose PORT sets what prelude/clusters.sh knows of the cluster of this port, or fails and has
# $why: 3, there is none; 77, it cannot be told which it is. A port is what an owner wrote
# into a file, and another may have written the same: it is the one with the system identifier
# that is known, and of its copies the one whose data are where they always were.

choose() {
  why=''
  claims=$(known "$1")
  all_read=$?
  names='' same='' copies=0 at_home='' bare=''
  while take; do
    names="$names${names:+, }$v/$c"
    [ -n "$system" ] || continue
    its=$(system_of)
    case $its in
      "$system") same=$v/$c copies=$((copies + 1)) ;;
      # It has no data yet, or no more.
      '') bare=$v/$c; continue ;;
      *) continue ;;
    esac
    if [ -n "$home" ] && as_owner test "$d" -ef "$home" </dev/null 2>/dev/null; then
      at_home=$v/$c
    fi
  done <<END
$claims
END
  if [ -n "$at_home" ]; then
    one=$at_home
  elif [ "$copies" = 1 ]; then
    one=$same
  else
    # That it is the only one tells which it is, unless it is known to be another.
    case $names in
      '' | *,*) one= ;;
      *) if [ -z "$system" ]; then one=$names; else one=$bare; fi ;;
    esac
  fi
  while take; do
    [ "$v/$c" != "$one" ] || return 0
  done <<END
$claims
END
  v='' c='' d='' o=''
  case $all_read:$names in
    0:) why="no cluster is set up for port $1"; return 3 ;;
    *:) why="the configuration of one cannot be read" ;;
    *) why="$names ${system:+with the system identifier $system}" ;;
  esac
  why="not proved: which cluster is at port $1: $why"
  return 77
}

# system_of prints the system identifier, as the owner reads it, where that is proved.
system_of() {
  (
    prove_owner >/dev/null
    as_owner env LC_ALL=C "/usr/lib/postgresql/$v/bin/pg_controldata" -D "$d" |
      sed -n 's/^Database system identifier: *\([0-9][0-9]*\)$/\1/p'
  ) </dev/null 2>/dev/null
}
