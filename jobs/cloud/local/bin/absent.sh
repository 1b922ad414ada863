#!/bin/sh
# A local server installs nothing on the machine that it is on; no other try will help (78).

echo "this machine lacks that PostgreSQL, openssl or Perl's JSON module, and" \
  "a local server installs nothing on it"
exit 78
