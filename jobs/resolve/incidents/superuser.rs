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

/// What a script reads is kept as its descriptor 3.
pub(crate) const INPUT: &str = include_str!("../../host/scripts/prelude/input.sh");

/// `as_owner` does something as the cluster's owner; `sql` runs SQL as its superuser.
pub(crate) const SUPERUSER: &str = include_str!("../../host/scripts/prelude/superuser.sh");

/// The SQL behind which a statement may hold a verifier of a password.
pub(crate) const QUIET: &str = include_str!("../../host/scripts/prelude/quiet.sh");

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
