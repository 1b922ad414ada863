# shellcheck shell=sh
# unread_slots prints the SQL of what inactive slots hold. A slot that a primary keeps in
# step on its standby (PostgreSQL 17) is the primary's. One of a live follower (psql's
# variable `followers`, by commas) stays for as long as max_slot_wal_keep_size limits it:
# without it the follower would have to be made anew.

unread_slots() {
  cat <<'SQL'
select slot_name, pg_wal_lsn_diff(
    case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
    restart_lsn) as held
from pg_replication_slots s
where not active and restart_lsn is not null
  and not coalesce((to_jsonb(s) ->> 'synced')::bool, false)
  and not (slot_name = any (string_to_array(:'followers', ','))
           and coalesce(current_setting('max_slot_wal_keep_size', true), '-1') <> '-1')
SQL
}
