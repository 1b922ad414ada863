# shellcheck shell=sh
# A role that may stream, and read what pg_rewind compares, and do nothing else; and a slot for
# each follower, which keeps WAL for it: reserved at once, so that a copy can catch up however
# long it takes, up to $2 MiB; their names are the rest of the arguments. What is read first
# sets psql's variables `replication` and `verifier`.

keep=${2}MB
shift 2
{
  cat <&3
  cat <<'SQL'
select format('create role %I login replication', :'replication')
where not exists (select from pg_roles where rolname = :'replication')
\gexec
alter role :"replication" with login replication nosuperuser nocreatedb nocreaterole
    connection limit 10 password :'verifier';
grant execute on function pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
    pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean)
    to :"replication";
grant connect on database postgres to :"replication";
select pg_create_physical_replication_slot(slot, true)
from unnest(string_to_array(:'slots', ' ')) as wanted (slot)
where not exists (select from pg_replication_slots where slot_name = slot);
alter system set max_slot_wal_keep_size = :'keep';
select pg_reload_conf();
SQL
} | sql -o /dev/null -v keep="$keep" -v slots="$*" || exit 1

# Who leads others does not start by itself: meanwhile another may have come to lead.
echo manual | put start.conf 644 || exit 1
echo "it keeps WAL for $*"
