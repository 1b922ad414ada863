# shellcheck shell=sh
# Drops the slots that a leader kept for its followers. A standby's own slots would keep its
# WAL for ever.

sql -o /dev/null <<'SQL' || exit 1
select pg_drop_replication_slot(slot_name) from pg_replication_slots
where slot_type = 'physical' and not active and slot_name like 'f\_%'
SQL
echo "it keeps no slots any more"
