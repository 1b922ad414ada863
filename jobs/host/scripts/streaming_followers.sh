# shellcheck shell=sh
# The followers that stream, as their leader sees them. It names one that is cut off, or hangs,
# for a minute more, with the time of its last word by that one's own clock, which may be wrong:
# who has not spoken lately by that clock has to speak while it is looked at.

streaming() {
  sql <<'SQL'
select application_name, coalesce(reply_time::text, ''),
    coalesce(abs(extract(epoch from clock_timestamp() - reply_time)) < 12, true)
from pg_stat_replication where state = 'streaming'
SQL
}

before=$(streaming) || exit 1
case $before in *'|f'*) sleep 3 ;; esac
now=$(streaming) || exit 1
printf '%s\n' "$now" | while IFS='|' read -r name spoke lately; do
  [ "$lately" = t ] || ! printf '%s\n' "$before" | grep -qxF "$name|$spoke|f" || continue
  [ -z "$name" ] || echo "$name"
done
