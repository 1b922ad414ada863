# shellcheck shell=sh
# Whether role $2 is there, and may log in; and whether a fence has shut everybody out (fence.sh).

fenced=false
! in_conf test -e pg_hba.conf.unfenced || fenced=true
sql -v role="$2" -v fenced="$fenced" <<'SQL' || exit 5
select jsonb_build_object(
    'fenced', :'fenced'::boolean,
    'in_recovery', pg_is_in_recovery(),
    'there', count(*) > 0,
    'login', coalesce(bool_or(rolcanlogin), false),
    'mighty', coalesce(bool_or(rolsuper or rolreplication or rolcreaterole or rolbypassrls), false),
    'expired', coalesce(bool_or(rolvaliduntil <= now()), false))
from pg_roles where rolname = :'role'
SQL
