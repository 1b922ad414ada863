//! Scripts on a server, as operations run them.

use std::time::Duration;

use drover::model::{Resource, Server};
use drover::store::subjects::Known;
use drover::store::words::{self, About, Standing};
use serde::de::DeserializeOwned;

use super::kind::Ended;
use super::{Context, Outcome};
use crate::feel;
use crate::host::{self, AtPort, Changes, Kind, Report, ScriptError, Word};

/// When what goes on by itself is asked after.
const SOON: Duration = Duration::from_secs(2);
/// What is left of a step's time for its last words.
const MARGIN: Duration = Duration::from_secs(2);

impl From<ScriptError> for Outcome {
    fn from(error: ScriptError) -> Self {
        let words = error.to_string();
        if let ScriptError::RecordIsOld { .. } = error {
            return Self::new(Ended::Refused, words);
        }
        match error.status() {
            Some(ScriptError::GOES_ON) => Self::goes_on(SOON, words),
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
    script: impl Into<Kind>,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let at = (server, None, None);
    send(turn, at, script.into(), arguments, input).await
}

/// Runs a script at whatever cluster has this port, the resource of which may have left the
/// herd since.
///
/// # Errors
/// As [`host::run`].
pub(super) async fn at_port(
    turn: &Context<'_>,
    (server, port): (&Server, u16),
    script: impl Into<Kind>,
    arguments: &[&str],
) -> Result<Report, ScriptError> {
    let about = About::Port(server.subject.id, port);
    let cluster = AtPort { port, is: None };
    let at = (server, Some(cluster), Some(about));
    send(turn, at, script.into(), arguments, b"").await
}

/// Runs a script at the cluster of a resource: `$1` is its port, the arguments follow.
///
/// # Errors
/// As [`host::run`].
pub(super) async fn at_cluster(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
    script: impl Into<Kind>,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let about = About::Resource(resource.subject.id);
    let (port, is) = (resource.port, resource.cluster.as_ref());
    let at = (server, Some(AtPort { port, is }), Some(about));
    send(turn, at, script.into(), arguments, input).await
}

/// As [`at_cluster`], for a script whose last line is a JSON object: that, read.
///
/// # Errors
/// As [`or_skip`], and the outcome of a step that was told something else.
pub(super) async fn ask<T: DeserializeOwned>(
    turn: &Context<'_>,
    on: (&Resource, &Server),
    script: impl Into<Kind>,
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

async fn send<'a>(
    turn: &Context<'_>,
    (server, cluster, about): (&'a Server, Option<AtPort<'a>>, Option<About>),
    script: Kind,
    arguments: &[&str],
    input: &[u8],
) -> Result<Report, ScriptError> {
    let time = turn.limit.saturating_sub(MARGIN);
    let host = turn.tools.context.host(server, time);
    let mut host = host.map_err(|why| ScriptError::Ssh {
        host: server.subject.name.clone(),
        why,
    })?;
    host.cluster = cluster;
    host.connect = feel::connect_limit(&server.subject, time);
    let script = match script {
        Kind::Look(script) => return host::look(&host, &script, arguments, input).await,
        Kind::Change(script) => script,
    };
    let of_a_cluster = || match (script.changes, turn.known) {
        // One that is made, or dropped by its name.
        (Changes::Cluster, Some(Known::Resource(resource, _))) => {
            About::Resource(resource.subject.id)
        }
        (Changes::Nothing | Changes::Cluster | Changes::Machine, _) => {
            About::Machine(server.subject.id)
        }
    };
    let about = about.unwrap_or_else(of_a_cluster);
    let not_sent = |why| ScriptError::NotSent {
        host: server.subject.name.clone(),
        why,
    };
    let standing = turn.last_look(about).await.map_err(not_sent)?;
    let word = Word {
        standing,
        until: turn.until,
    };
    let said = host::change(&host, &script, &word, arguments, input).await;
    match &said {
        Ok(report) => remember(turn, about, &word.standing, report).await,
        Err(ScriptError::Failed { status, words, .. }) if *status == ScriptError::REFUSED => {
            // One that was overtaken on its way is only late.
            let late = words.starts_with("refused: late");
            if !late && standing_now(turn, about).await.as_ref() == Ok(&word.standing) {
                let (host, words) = (server.subject.name.clone(), words.clone());
                let error = ScriptError::RecordIsOld { host, words };
                turn.refused.get_or_init(|| error.to_string());
                return Err(error);
            }
        }
        Err(_) => {}
    }
    said
}

/// What the server keeps from now on is in the record. If that cannot be written, the next
/// script does it.
async fn remember(turn: &Context<'_>, about: About, standing: &Standing, report: &Report) {
    let Some(key) = report
        .obeys
        .as_deref()
        .filter(|key| !key.starts_with("new-"))
    else {
        return;
    };
    if standing.known.as_deref() == Some(key) {
        return;
    }
    let written = async {
        let mut db = turn.tools.pool.acquire().await?;
        words::seen(&mut db, about, key).await
    };
    if let Err(e) = written.await {
        tracing::warn!(key, error = %e, "what a server has obeyed is not written down");
    }
}

async fn standing_now(turn: &Context<'_>, about: About) -> Result<Standing, String> {
    let standing = async {
        let mut db = turn.tools.pool.acquire().await?;
        words::standing(&mut db, about).await
    };
    let standing: sqlx::Result<Standing> = standing.await;
    standing.map_err(|e| format!("the control database does not answer: {e}"))
}

impl Context<'_> {
    /// The last look at the leases before something is done in the world, and how the record
    /// stands about what it is done to.
    ///
    /// # Errors
    /// Why nothing may be done any more.
    pub(super) async fn last_look(&self, about: About) -> Result<Standing, String> {
        let standing = standing_now(self, about).await?;
        // In this order: what was read is then ours, and nobody's who came meanwhile.
        self.still_leased().await?;
        Ok(standing)
    }
}
