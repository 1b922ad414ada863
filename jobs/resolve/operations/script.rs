//! Scripts on a server, as operations run them.

use std::time::Duration;

use drover::model::{Resource, Server};
use serde::de::DeserializeOwned;

use super::{Context, Outcome};
use crate::host::{self, Report, Script, ScriptError, Word};

/// When what goes on by itself is asked after.
const SOON: Duration = Duration::from_secs(2);
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

impl From<ScriptError> for Outcome {
    fn from(error: ScriptError) -> Self {
        let words = error.to_string();
        match error.status() {
            Some(ScriptError::GOES_ON) => Self::again(SOON, words),
            Some(ScriptError::HOPELESS) => Self::hopeless(words),
            Some(_) | None => Self::failed(words),
        }
    }
}

/// The same, but where there is no such cluster, or nothing to do it to, the step is skipped.
pub(super) fn or_skip(error: ScriptError) -> Outcome {
    match error.status() {
        Some(ScriptError::NOTHING_THERE) => Outcome::skipped(error.to_string()),
        Some(_) | None => error.into(),
    }
}

/// Runs a script on a server.
///
/// # Errors
/// As [`host::run`].
pub(super) async fn run(
    turn: &Context<'_>,
    server: &Server,
    script: &Script,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    send(turn, server, (None, None), script, arguments, input).await
}

/// Runs a script at whatever cluster has this port, the resource of which may have left the
/// herd since.
///
/// # Errors
/// As [`host::run`].
pub(super) async fn at_port(
    turn: &Context<'_>,
    (server, port): (&Server, u16),
    script: &Script,
    arguments: &[&str],
) -> Result<Report, ScriptError> {
    send(turn, server, (Some(port), None), script, arguments, b"").await
}

/// Runs a script at the cluster of a resource: `$1` is its port, the arguments follow.
///
/// # Errors
/// As [`host::run`].
pub(super) async fn at_cluster(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: &Script,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let at = (Some(resource.port), Some(resource));
    send(turn, server, at, script, arguments, input).await
}

/// As [`at_cluster`], for a script whose last line is a JSON object: that, read.
///
/// # Errors
/// As [`or_skip`], and the outcome of a step that was told something else.
pub(super) async fn ask<T: DeserializeOwned>(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    script: &Script,
    arguments: &[&str],
) -> Result<T, Outcome> {
    let report = at_cluster(turn, on, script, arguments, b"").await;
    let report = report.map_err(or_skip)?;
    let last = report.text().lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|e| {
        let name = &on.1.subject.name;
        Outcome::failed(format!("{name} did not tell what was asked: {e}"))
    })
}

async fn send(
    turn: &Context<'_>,
    server: &Server,
    (port, resource): (Option<u16>, Option<&Resource>),
    script: &Script,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let time = turn.limit.saturating_sub(MARGIN);
    let host = turn.tools.context.host(server, time);
    let mut host = host.map_err(|why| ScriptError::Ssh {
        host: server.subject.name.clone(),
        why,
    })?;
    host.port = port;
    let changed = resource.map_or(server.subject.id, |resource| resource.subject.id);
    let lease = turn.leases.iter().find(|(id, _)| *id == changed);
    let word = Word {
        by: turn.operation.id.to_string(),
        epoch: resource.map(|resource| resource.epoch),
        fence: lease.or(turn.leases.first()).map(|(_, fence)| *fence),
        left: Some(time),
    };
    host::run(&host, script, &word, arguments, input).await
}
