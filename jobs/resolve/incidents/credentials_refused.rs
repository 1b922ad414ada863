//! `credentials_refused`: a resource does not let drover's role in.

use drover::model::{ExposeSecret, IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;
use postgres_protocol::password::scram_sha_256;
use serde_json::Value;
use std::time::Duration;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::superuser::QUIET;
use super::{Outcome, Turn, follows, own_role, superuser};
use crate::postgres::PostgresError;

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::CredentialsRefused,
    title: "a database refuses drover's role or its password",
    opened_when: "the resource is unavailable because authentication fails",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 2,
        deadline: Duration::from_secs(180),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[Remedy {
        name: "restore_login",
        does: "let the role log in again, and set the password that drover knows once more",
        attempts: 2,
        settle: Duration::from_secs(30),
        steps: &[Step::new("look"), Step::new("restore")],
    }],
    undo: None,
    tells: Tells::Page,
};

const LOOK: &str = include_str!("../../host/scripts/look_role.sh");

const RESTORE: &str = include_str!("../../host/scripts/restore_login.sh");

/// How PostgreSQL says no to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The password is wrong, or has expired, or there is none.
    Password,
    /// The password may be right: the role may not log in, is not there, or
    /// `pg_hba.conf` has no entry for it.
    Entry,
    /// `pg_hba.conf` asks for something else than a password that may be sent.
    Method,
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has credentials");
    };
    let done = match turn.step {
        "look" => look(turn, resource, server).await,
        _ => restore(turn, resource, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

/// `None` if we are let in: whatever else is wrong then is no matter of ours.
async fn refused(
    resource: &Resource,
    server: &Server,
) -> Result<Option<(Refusal, String)>, Outcome> {
    let error = match own_role::log_in(resource, server).await {
        Ok(session) => {
            own_role::leave(session).await;
            return Ok(None);
        }
        Err(error) => error,
    };
    let message = error.to_string();
    match error {
        PostgresError::Server { sqlstate, .. } => match sqlstate.as_str() {
            "28P01" => Ok(Some((Refusal::Password, message))),
            code if code.starts_with("28") => Ok(Some((Refusal::Entry, message))),
            _ => Ok(None),
        },
        PostgresError::Login(_) => Ok(Some((Refusal::Method, message))),
        PostgresError::NoAddress(_)
        | PostgresError::Io(_)
        | PostgresError::Tls(_)
        | PostgresError::Protocol(_) => {
            Err(Outcome::failed(format!("cannot try to log in: {message}")))
        }
    }
}

async fn look(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let role = &resource.role;
    let Some((refusal, message)) = refused(resource, server).await? else {
        return Ok(Outcome::done(format!("{role} is let in already")));
    };
    if refusal == Refusal::Method {
        return Ok(hba(role, server, &message));
    }
    let told = superuser::ask(turn, (resource, server), LOOK, &[role]).await?;
    let is = |name: &str| told[name] == Value::Bool(true);
    if !is("there") {
        return Ok(Outcome::passed_over(format!(
            "there is no role {role}, and drover makes none"
        )));
    }
    // A follower's pg_hba.conf is its own; the roles are its leader's.
    if refusal == Refusal::Entry && is("login") {
        return Ok(hba(role, server, &message));
    }
    if let Some(why) = follows(resource.leader, is("in_recovery")) {
        return Ok(Outcome::passed_over(why));
    }
    let why = match (is("login"), is("expired")) {
        (true, true) => "its password has expired",
        (true, false) => "its password is another",
        (false, true) => "it may not log in, and its password has expired",
        (false, false) => "it may not log in",
    };
    Ok(Outcome::done(format!("{role} is refused: {why}"))
        .remember("password_only", is("login") && !is("expired")))
}

fn hba(role: &str, server: &Server, message: &str) -> Outcome {
    Outcome::passed_over(format!(
        "pg_hba.conf on {} does not let {role} in with a password from here, and drover does \
         not change it: {message}",
        server.subject.name
    ))
}

/// The least that helps: `login` if it may not, `valid until 'infinity'` if that is
/// over, and the password only where it is still refused then.
async fn restore(
    turn: &Turn<'_>,
    resource: &Resource,
    server: &Server,
) -> Result<Outcome, Outcome> {
    let role = &resource.role;
    let mut said = Vec::new();
    if refused(resource, server).await?.is_none() {
        return Ok(Outcome::done(format!("{role} is let in already")));
    }
    let tries: &[bool] = match turn.incident.memo["password_only"].as_bool() {
        Some(true) => &[true],
        _ => &[false, true],
    };
    let mut last = String::new();
    for with_password in tries.iter().copied() {
        said.extend(set(turn, resource, server, with_password).await?);
        match refused(resource, server).await? {
            None => {
                let done = format!("{role} {}, and is let in", words(&said));
                return Ok(Outcome::done(done).touching(touched(role, server)));
            }
            Some((Refusal::Password, message)) => last = message,
            Some((Refusal::Entry | Refusal::Method, message)) => {
                return Ok(hba(role, server, &message).touching(touched(role, server)));
            }
        }
    }
    Ok(
        Outcome::failed(format!("{role} {}, and is refused: {last}", words(&said)))
            .touching(touched(role, server)),
    )
}

fn words(said: &[String]) -> String {
    match said {
        [] => "was found as it should be".into(),
        said => said.join(", "),
    }
}

/// Gives what was changed, in words.
async fn set(
    turn: &Turn<'_>,
    resource: &Resource,
    server: &Server,
    with_password: bool,
) -> Result<Vec<String>, Outcome> {
    let (set_it, input) = if with_password {
        let verifier = scram_sha_256(resource.password.expose_secret().as_bytes());
        ("true", format!("\\set verifier '{verifier}'\n"))
    } else {
        ("false", String::new())
    };
    let arguments = [resource.role.as_str(), set_it];
    let script = format!("{QUIET}{RESTORE}");
    let said = superuser::run(
        turn,
        (resource, server),
        &script,
        &arguments,
        input.as_bytes(),
    )
    .await?;
    Ok(said.out.lines().map(str::to_owned).collect())
}

fn touched(role: &str, server: &Server) -> String {
    format!("role {role} on {}", server.subject.name)
}
