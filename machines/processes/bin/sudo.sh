#!/bin/sh
# This machine is one user's: there is nobody else to become.

while [ $# -gt 0 ]; do
  case $1 in
    -n) shift ;;
    -u) shift 2 ;;
    --) shift; break ;;
    *) break ;;
  esac
done
exec "$@"
