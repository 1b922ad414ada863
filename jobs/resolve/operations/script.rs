//! Scripts on a server, over SSH: how operations change something there.
//!
//! Architecture Invariant: a script is fixed text. What differs is handed to it as
//! quoted arguments, and what is secret as its input.

use std::time::Duration;

use drover::model::{Resource, Server};

use super::{Context, Outcome};
use crate::resolve::incidents::shell::{self, FIND_CLUSTER, Said};
use crate::resolve::incidents::superuser::{INPUT, SUPERUSER};

/// `as_root` does something as root.
pub(crate) const ROOT: &str = include_str!("../../host/scripts/prelude/root.sh");

/// `background NAME FUNCTION …` runs what may take longer than a turn.
pub(super) const BACKGROUND: &str = include_str!("../../host/scripts/prelude/background.sh");

/// A script's way to say that what it waits for goes on (EX_TEMPFAIL).
const GOES_ON: u32 = 75;
/// That no other try will help (EX_CONFIG).
const HOPELESS: u32 = 78;
/// When it is asked again then.
const SOON: Duration = Duration::from_secs(2);
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

/// Runs a script on a server. Status 75 means that it goes on by itself, 78 that only
/// a human can help.
///
/// # Errors
/// The outcome of a step whose script could not be run, did not end well, or goes on.
pub(super) async fn run(
    turn: &Context<'_>,
    server: &Server,
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{ROOT}{script}");
    say(turn, server, &script, arguments, input).await
}

/// Runs a script on the server of a resource, with `$1` the port; `$v`, `$c`, `$d`
/// and `$l` are its cluster's version, name, data directory and log, and `alive`
/// prints its processes.
///
/// # Errors
/// As [`run`].
pub(super) async fn at_cluster(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{script}");
    let port = resource.port.to_string();
    let arguments = [&[port.as_str()], arguments].concat();
    say(turn, server, &script, &arguments, input).await
}

/// The same in a cluster that runs: `sql` runs the SQL that it reads as the cluster's
/// superuser, with psql's options as its arguments.
///
/// # Errors
/// As [`run`].
pub(super) async fn as_superuser(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{SUPERUSER}{script}");
    let port = resource.port.to_string();
    let arguments = [&[port.as_str()], arguments].concat();
    say(turn, server, &script, &arguments, input).await
}

async fn say(
    turn: &Context<'_>,
    server: &Server,
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let time = turn.limit.saturating_sub(MARGIN);
    let said = shell::run_with_input(turn.tools, server, script, arguments, input, time)
        .await
        .map_err(|outcome| Outcome::failed(outcome.note))?;
    let words = || format!("{} on {}", said.last_words(), server.subject.name);
    match said.status {
        0 => Ok(said),
        GOES_ON => Err(Outcome::again(SOON, words())),
        HOPELESS => Err(Outcome::hopeless(words())),
        _ => Err(Outcome::failed(words())),
    }
}
