# shellcheck shell=sh
# The customer's role and database $2, with the extensions that follow, and drover's own
# role, which may look at all of the cluster and is in no database of the customer's; nothing
# that the customer may grant or revoke reaches it: its database is not theirs, and their
# role makes no roles. Names and passwords come as psql's variables in the input, and the
# passwords as verifiers, so that no log can hold one.

{
  cat <&3
  cat <<'SQL'
select format('create role %I login', :'own')
where not exists (select from pg_roles where rolname = :'own')
\gexec
alter role :"own" with login nosuperuser nocreatedb nocreaterole noreplication
    connection limit 5 password :'own_verifier';
grant pg_monitor to :"own";
select format('create database %I', :'own')
where not exists (select from pg_database where datname = :'own')
\gexec
revoke all on database :"own" from public;
grant connect on database :"own" to :"own";
select format('create role %I login', :'role')
where not exists (select from pg_roles where rolname = :'role')
\gexec
alter role :"role" with login nosuperuser nocreatedb nocreaterole noreplication
    connection limit :most password :'role_verifier';
select format('create database %I owner %I', :'database', :'role')
where not exists (select from pg_database where datname = :'database')
\gexec
revoke all on database :"database" from public;
revoke connect on database postgres, template1 from public;
SQL
} | sql -o /dev/null || exit 1

b=$2
shift 2
for e in "$@"; do
  printf 'create extension if not exists "%s" schema public;\n' "$e" |
    sql -d "$b" -o /dev/null || exit 1
done
echo "the customer's role and database $b are there"
