# shellcheck shell=sh
# Drops slot $2, ending what streams from it.

sql -o /dev/null -v slot="$2" <<'SQL' || exit 1
select pg_terminate_backend(active_pid, 5000) from pg_replication_slots
where slot_name = :'slot' and active;
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = :'slot';
SQL
echo "slot $2 is gone"
