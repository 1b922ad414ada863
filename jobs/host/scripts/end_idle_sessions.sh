# shellcheck shell=sh
# Ends sessions that idle in a transaction for longer than $2 seconds; $3 is the SQL.

printf '%s\n' "$3" | sql -v idle_s="$2" || exit 5
