# shellcheck shell=sh
# Lets role $2 log in again; $3 is whether to set its password. What is read first sets
# psql's variable `verifier`. A role that may more than read and write is not found.

{
  cat <&3
  quiet
  cat <<'SQL'
select rolcanlogin as may_log_in, coalesce(rolvaliduntil <= now(), false) as is_expired
from pg_roles
where rolname = :'role' and not (rolsuper or rolreplication or rolcreaterole or rolbypassrls)
\gset
\if :may_log_in
\else
alter role :"role" login;
\echo may log in again
\endif
\if :is_expired
alter role :"role" valid until 'infinity';
\echo does not expire any more
\endif
\if :set_it
alter role :"role" password :'verifier';
\echo has its password again
\endif
SQL
} | sql -v role="$2" -v set_it="$3" || exit 5
