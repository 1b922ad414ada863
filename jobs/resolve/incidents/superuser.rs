//! SQL as a cluster's superuser: over SSH and the cluster's local socket, where
//! drover's own role may not, or cannot log in.
//!
//! Architecture Invariant: nothing here needs a password of the superuser's. The
//! server's login is the owner of the cluster, or root, or may become the owner by
//! sudo; who owns the data directory owns the cluster.

use drover::model::{Resource, Server};
use serde_json::Value;

use super::shell::{self, FIND_CLUSTER, Said};
use super::{Outcome, Turn};

/// What a script reads is kept as its descriptor 3, out of the way of all that
/// happens to read its input.
pub(crate) const INPUT: &str = "exec 3<&0 </dev/null; cd /\n";

/// `as_owner` does something as the cluster's owner; `sql` runs the SQL that it
/// reads, with psql's options as its arguments. `$s` is the socket's directory,
/// `$u` the superuser, `$q` psql.
///
/// The settings of these sessions are their own: a cluster that was made read-only
/// or waits for a lost standby is mended all the same, and no setting of the
/// role's puts other functions before PostgreSQL's.
pub(crate) const SUPERUSER: &str = r#"o=$(stat -c %U -- "$d")
as_owner() {
  if [ "$(id -un)" = "$o" ]; then "$@"
  elif [ "$(id -u)" = 0 ]; then runuser -u "$o" -- "$@"
  else sudo -n -u "$o" -- "$@"; fi
}
s=$(as_owner sed -n 5p -- "$d/postmaster.pid" 2>/dev/null); port=$1
[ -n "$s" ] || { echo "cluster $v/$c does not run, or has no local socket"; exit 5; }
q=/usr/lib/postgresql/$v/bin/psql; [ -x "$q" ] || q=psql
settings='-c search_path=pg_catalog -c default_transaction_read_only=off -c synchronous_commit=local -c client_min_messages=warning -c lc_messages=C'
sql() {
  as_owner env PGDATABASE="$b" PGAPPNAME=drover PGCONNECT_TIMEOUT=5 PGOPTIONS="-c statement_timeout=10s -c lock_timeout=5s $settings" \
    "$q" -XqAtw -v ON_ERROR_STOP=1 -v VERBOSITY=terse -h "$s" -p "$port" -U "$u" "$@"
}
login() {
  for b in postgres template1; do for u in postgres "$o"; do
    e=$(sql -c 'show is_superuser' </dev/null 2>&1) && [ "$e" = on ] && return
  done; done
  echo "the local socket of $v/$c lets no superuser in: $e"; exit 5
}
login
"#;

/// `quiet` prints the SQL behind which a session's statements may hold a verifier of a
/// password: what PostgreSQL and its extensions could make of their text, a line of a
/// log or a row of statistics, is turned off, whatever of it this version knows.
/// `terse`, which all these sessions are, keeps the text out of errors.
pub(crate) const QUIET: &str = r#"quiet() { cat <<'END'
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
END
}
"#;

/// Runs a script on the server of a resource, behind [`FIND_CLUSTER`] and
/// `SUPERUSER`. `$1` is the port, the arguments follow; what the script may read
/// is its descriptor 3.
///
/// # Errors
/// The outcome of a step whose script could not be run, or did not end well.
pub(super) async fn run(
    turn: &Turn<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{FIND_CLUSTER}{SUPERUSER}{script}");
    let port = resource.port.to_string();
    let arguments = [&[port.as_str()], arguments].concat();
    let tools = turn.tools;
    let said = shell::run_with_input(tools, server, &script, &arguments, input, turn.limit).await?;
    let words = || format!("{} on {}", said.last_words(), server.subject.name);
    match said.status {
        0 => Ok(said),
        3 => Err(Outcome::passed_over(words())),
        _ => Err(Outcome::failed(words())),
    }
}

/// As [`run`], for a script whose last line is a JSON object.
///
/// # Errors
/// As [`run`], and the outcome of a step that was told something else.
pub(super) async fn ask(
    turn: &Turn<'_>,
    on: (&Resource, &Server),
    script: &str,
    arguments: &[&str],
) -> Result<Value, Outcome> {
    let said = run(turn, on, script, arguments, b"").await?;
    let last = said.out.lines().last().unwrap_or_default();
    match serde_json::from_str(last) {
        Ok(Value::Object(told)) => Ok(Value::Object(told)),
        Ok(_) | Err(_) => Err(Outcome::failed(format!(
            "{} told no JSON object",
            on.1.subject.name
        ))),
    }
}
