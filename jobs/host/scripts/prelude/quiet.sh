# shellcheck shell=sh
# quiet prints the SQL behind which a session's statements may hold a verifier of a
# password: what PostgreSQL and its extensions could make of their text, a line of a log or
# a row of statistics, is turned off, whatever of it this version knows. `terse`, which all
# these sessions are, keeps the text out of errors.

quiet() {
  cat <<'SQL'
select count(set_config(s.name, off.value, false))
from (values
    ('log_statement', 'none'), ('log_min_duration_statement', '-1'),
    ('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'),
    ('log_min_error_statement', 'panic'), ('log_duration', 'off'),
    ('log_parser_stats', 'off'), ('log_planner_stats', 'off'),
    ('log_executor_stats', 'off'), ('log_statement_stats', 'off'),
    ('debug_print_parse', 'off'), ('debug_print_raw_parse', 'off'),
    ('debug_print_rewritten', 'off'), ('debug_print_plan', 'off'),
    ('track_activities', 'off'), ('pg_stat_statements.track', 'none'),
    ('pg_stat_statements.track_utility', 'off'), ('pgaudit.log', 'none'),
    ('auto_explain.log_min_duration', '-1')
) off (name, value) join pg_settings s using (name) \g /dev/null
SQL
}
