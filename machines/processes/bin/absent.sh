#!/bin/sh
# Nothing is installed here: what is would be the host's. No other try will help (78).

echo "the host lacks that PostgreSQL, openssl or Perl's JSON module, and" \
  "a machine that is processes installs nothing on it"
exit 78
