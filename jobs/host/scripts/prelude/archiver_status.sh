# shellcheck shell=sh disable=SC2154  # a: prelude/archiver.sh
# status HUNG SAID ENDED prints what PostgreSQL says of its archiver, on one line, with what
# hangs under it, what its log said last, and how many processes were ended.

status() {
  sql -v hung="$1" -v said="$2" -v archiver="$a" -v ended="$3" <<'SQL' || exit 5
select jsonb_build_object(
    'on', current_setting('archive_mode') <> 'off',
    'left_to_leader', pg_is_in_recovery() and current_setting('archive_mode') <> 'always',
    'configured', current_setting('archive_command') not in ('', '(disabled)')
        or coalesce(current_setting('archive_library', true), '') <> '',
    'archived', archived_count, 'failed', failed_count,
    'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
    'ready', (select count(*) from pg_ls_dir('pg_wal/archive_status') f where f like '%.ready'),
    'segment', last_failed_wal,
    'clock', round(extract(epoch from clock_timestamp()))::bigint,
    'archiver', nullif(:'archiver', ''), 'hung', :'hung', 'log', :'said', 'ended', :'ended')
from pg_stat_archiver
SQL
}
