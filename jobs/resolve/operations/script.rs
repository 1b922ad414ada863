//! Scripts on a server, over SSH: how operations change something there.
//!
//! Architecture Invariant: a script is fixed text. What differs is handed to it as
//! quoted arguments, and what is secret as its input.

use std::time::Duration;

use drover::model::{Resource, Server};
use serde::de::DeserializeOwned;

use super::shell;
pub(super) use super::shell::Said;
use super::{Context, Outcome};

/// Where the cluster of port `$1` is: what stands before a script that needs one.
const FIND_CLUSTER: &str = include_str!("../../host/scripts/prelude/cluster.sh");

/// What a script reads is kept as its descriptor 3.
const INPUT: &str = include_str!("../../host/scripts/prelude/input.sh");

/// `as_owner` does something as the cluster's owner; `sql` runs SQL as its superuser,
/// over the cluster's local socket, without a password: who owns the data directory
/// owns the cluster.
const SUPERUSER: &str = include_str!("../../host/scripts/prelude/superuser.sh");

/// The SQL behind which a statement may hold a verifier of a password.
pub(super) const QUIET: &str = include_str!("../../host/scripts/prelude/quiet.sh");

/// `as_root` does something as root.
const ROOT: &str = include_str!("../../host/scripts/prelude/root.sh");

/// `background NAME FUNCTION …` runs what may take longer than a turn.
pub(super) const BACKGROUND: &str = include_str!("../../host/scripts/prelude/background.sh");

/// A script's way to say that what it waits for goes on (EX_TEMPFAIL).
const GOES_ON: u32 = 75;
/// That there is nothing to do it to.
const NOTHING_THERE: u32 = 3;
/// That no other try will help (EX_CONFIG).
const HOPELESS: u32 = 78;
/// When it is asked again then.
const SOON: Duration = Duration::from_secs(2);
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

/// Runs a script on a server. Status 75 means that it goes on by itself, 78 that only a
/// human can help.
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
    say(turn, server, &script, &behind(&port, arguments), input).await
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
    let script = format!("{SUPERUSER}{script}");
    at_cluster(turn, (resource, server), &script, arguments, input).await
}

/// As [`as_superuser`], but status 3 (there is no such cluster, or nothing to do it to)
/// is a step that is skipped.
///
/// # Errors
/// As [`as_superuser`], and a step that is skipped.
pub(super) async fn superuser_or_skip(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{SUPERUSER}{script}");
    let said = hear(turn, (resource, server), &script, arguments, input).await?;
    match said.status {
        0 => Ok(said),
        _ => Err(Outcome::failed(words(&said, server))),
    }
}

/// As [`superuser_or_skip`], for a script whose last line is a JSON object: that, read.
///
/// # Errors
/// As [`superuser_or_skip`], and the outcome of a step that was told something else.
pub(super) async fn ask<T: DeserializeOwned>(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    script: &str,
    arguments: &[&str],
) -> Result<T, Outcome> {
    let said = superuser_or_skip(turn, on, script, arguments, b"").await?;
    let last = said.out.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|e| {
        let name = &on.1.subject.name;
        Outcome::failed(format!("{name} did not tell what was asked: {e}"))
    })
}

/// As [`run`], for a script whose statuses its step reads itself.
///
/// # Errors
/// If it could not be run.
pub(super) async fn listen(
    turn: &Context<'_>,
    server: &Server,
    script: &str,
    arguments: &[&str],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{ROOT}{script}");
    send(turn, server, &script, arguments, b"").await
}

/// As [`at_cluster`], for a script whose statuses its step reads itself, but for 3, which
/// is a step that is skipped.
///
/// # Errors
/// If it could not be run, or there is nothing to do it to.
pub(super) async fn hear(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{script}");
    let port = resource.port.to_string();
    let said = send(turn, server, &script, &behind(&port, arguments), input).await?;
    match said.status {
        NOTHING_THERE => Err(Outcome::skipped(words(&said, server))),
        _ => Ok(said),
    }
}

fn words(said: &Said, server: &Server) -> String {
    format!("{} on {}", said.last_words(), server.subject.name)
}

/// What a script at a cluster is given: its port first.
fn behind<'a>(port: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&[port], arguments].concat()
}

async fn send(
    turn: &Context<'_>,
    server: &Server,
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let time = turn.limit.saturating_sub(MARGIN);
    shell::run_with_input(turn.tools, server, script, arguments, input, time).await
}

async fn say(
    turn: &Context<'_>,
    server: &Server,
    script: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Said, Outcome> {
    let said = send(turn, server, script, arguments, input).await?;
    let words = words(&said, server);
    match said.status {
        0 => Ok(said),
        GOES_ON => Err(Outcome::again(SOON, words)),
        HOPELESS => Err(Outcome::hopeless(words)),
        _ => Err(Outcome::failed(words)),
    }
}
