# shellcheck shell=sh
# Drops slot $2 if it holds more bytes than $3; $4 are the followers' slots, by commas.
# Whether that still holds is looked at by the statement that drops it.

dropped=$(sql -v slot="$2" -v most="$3" -v followers="$4" <<SQL
select count(pg_drop_replication_slot(slot_name)::text)
from ($(unread_slots)) h where slot_name = :'slot' and held > :'most'::numeric
SQL
) || exit 5
there=$(sql -v slot="$2" <<'SQL'
select to_jsonb(exists (select from pg_replication_slots where slot_name = :'slot'))
SQL
) || exit 5
printf '{"dropped": %s, "there": %s}\n' "$dropped" "$there"
