# shellcheck shell=sh
# Sets the password of role $2. What is read first sets psql's variable `verifier`.

{
  cat <&3
  quiet
  cat <<'SQL'
alter role :"role" password :'verifier';
SQL
} | sql -v role="$2" || exit 5
