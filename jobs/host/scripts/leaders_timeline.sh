# shellcheck shell=sh disable=SC2154  # own_timeline: prelude/timeline.sh
# The timeline that a leader writes, and the one that its control file bears, which is what
# pg_rewind compares: they differ until the first checkpoint after a promotion.

sql -v timeline="$own_timeline" <<'SQL' || exit 1
select json_build_object(
    'writes', :timeline, 'bears', (select timeline_id from pg_control_checkpoint()))
SQL
