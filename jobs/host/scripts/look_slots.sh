# shellcheck shell=sh
# The inactive slots that hold more bytes than $2; $3 are the followers' slots, by commas.

sql -v most="$2" -v followers="$3" <<SQL || exit 5
select jsonb_build_object('slots', coalesce(
    jsonb_agg(jsonb_build_object('name', slot_name, 'bytes', held::int8) order by slot_name), '[]'))
from ($(unread_slots)) h where held > :'most'::numeric
SQL
