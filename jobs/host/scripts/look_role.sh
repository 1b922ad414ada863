# shellcheck shell=sh
# Whether role $2 is there, and may log in.

sql -v role="$2" <<'SQL' || exit 5
select jsonb_build_object(
    'in_recovery', pg_is_in_recovery(),
    'there', count(*) > 0,
    'login', coalesce(bool_or(rolcanlogin), false),
    'expired', coalesce(bool_or(rolvaliduntil <= now()), false))
from pg_roles where rolname = :'role'
SQL
