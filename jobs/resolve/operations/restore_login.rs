//! `restore_login`: drover's own role may log in to a resource again, with the password
//! that drover knows.

use drover::model::{ExposeSecret, OperationKind, Resource, Server};
use drover::store::logins;
use postgres_protocol::password::scram_sha_256;
use serde::{Deserialize, Serialize};

use super::follows::{all_others_follow, follows};
use super::kind::{Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::{own_role, script};
use crate::host::scripts::{LEAD_ON, LOOK_ROLE, OPEN, RESTORE_LOGIN};
use crate::postgres::PostgresError;

/// drover's own role may log in again.
pub(super) struct RestoreLogin;

/// What is wrong with the role.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// It may log in, and its password has not expired: it can only be another.
    password_only: bool,
    /// A fence has shut everybody out, and whoever has built it is not at work any more.
    fenced: bool,
}

impl Operation for RestoreLogin {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::RestoreLogin;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "look why the role is refused" => look).may_end(),
        step!("open", "take a fence back that nobody needs any more" => open).may_end(),
        step!("restore", "let the role log in again" => restore).may_end(),
    ];
}

/// What [`LOOK_ROLE`] tells of the role.
#[derive(Debug, Deserialize)]
struct Told {
    fenced: bool,
    in_recovery: bool,
    there: bool,
    login: bool,
    mighty: bool,
    expired: bool,
}

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

/// `None` if we are let in: whatever else is wrong then is no matter of ours.
async fn refused(
    turn: &Context<'_>,
    (resource, server): (&Resource, &Server),
) -> Result<Option<(Refusal, String)>, Outcome> {
    let error = match own_role::log_in(turn, resource, server).await {
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

async fn look(turn: &mut Turn<'_, RestoreLogin>) -> Work {
    let (resource, server) = turn.resource()?;
    let role = resource.role.as_str();
    let Some((refusal, message)) = refused(turn, (resource, server)).await? else {
        return Ok(Outcome::done(format!("{role} is let in already")));
    };
    if refusal == Refusal::Method {
        return Ok(hba(role, server, &message));
    }
    let told: Told = script::ask(turn, (resource, server), LOOK_ROLE, &[role]).await?;
    if !told.there {
        return Ok(Outcome::skipped(format!(
            "there is no role {role}, and drover makes none"
        )));
    }
    // A follower that takes writes is shut for good reason.
    let may_open = resource.leader.is_none() || told.in_recovery;
    if refusal == Refusal::Entry && told.fenced && may_open {
        turn.memo.fenced = true;
        return Ok(Outcome::done("it was fenced, and nobody is let in"));
    }
    // A follower's pg_hba.conf is its own; the roles are its leader's.
    if refusal == Refusal::Entry && told.login {
        return Ok(hba(role, server, &message));
    }
    if let Some(why) = follows(resource.leader, told.in_recovery) {
        return Ok(Outcome::skipped(why));
    }
    if told.mighty {
        return Ok(Outcome::skipped(format!(
            "{role} may do more than a database's own: drover gives nobody such a role's login"
        )));
    }
    if let Some(why) = not_to_be_set(turn, resource).await? {
        return Ok(Outcome::skipped(why));
    }
    let why = match (told.login, told.expired) {
        (true, true) => "its password has expired",
        (true, false) => "its password is another",
        (false, true) => "it may not log in, and its password has expired",
        (false, false) => "it may not log in",
    };
    turn.memo.password_only = told.login && !told.expired;
    Ok(Outcome::done(format!("{role} is refused: {why}")))
}

/// Why the record says that drover must give nobody this login, if it does: who adopted the
/// database could get a role by it that is not theirs.
async fn not_to_be_set(turn: &Context<'_>, resource: &Resource) -> Result<Option<String>, Outcome> {
    let (role, name) = (&resource.role, &resource.subject.name);
    let mut db = turn.tools.pool.acquire().await?;
    if logins::in_anothers_cluster(&mut db, resource.subject.id).await? {
        return Ok(Some(format!(
            "drover made this cluster for another resource: it gives {name} no login there"
        )));
    }
    if !logins::was_let_in(&mut db, resource.subject.id).await? {
        return Ok(Some(format!(
            "drover was never let in as {role} with the password that {name} was adopted with, \
             and sets none but one that has worked: set it yourself, or forget {name} and adopt \
             it again with the right one"
        )));
    }
    Ok(None)
}

fn hba(role: &str, server: &Server, message: &str) -> Outcome {
    Outcome::skipped(format!(
        "pg_hba.conf on {} does not let {role} in with a password from here, and drover does \
         not change it: {message}",
        server.subject.name
    ))
}

/// Who was fenced by an operation that was given up, or that the record has forgotten: it leads on
/// where nobody else does, and follows where it follows.
async fn open(turn: &mut Turn<'_, RestoreLogin>) -> Work {
    let on @ (resource, server) = turn.resource()?;
    if !turn.memo.fenced {
        return Ok(Outcome::done("it is not fenced"));
    }
    let script = match resource.leader {
        Some(_) => OPEN,
        None => {
            all_others_follow(turn, resource).await?;
            LEAD_ON
        }
    };
    let said = script::at_cluster(turn, on, script, &[], b"").await?;
    let words = match resource.leader {
        Some(_) => "who was let in before it was fenced is let in again".to_owned(),
        None => said.last_words(),
    };
    let touched = format!("{} on {}", resource.subject.name, server.subject.name);
    Ok(Outcome::done(words).touching(touched))
}

/// The least that helps: `login` if it may not, `valid until 'infinity'` if that is
/// over, and the password only where it is still refused then.
async fn restore(turn: &mut Turn<'_, RestoreLogin>) -> Work {
    let (resource, server) = turn.resource()?;
    let role = resource.role.as_str();
    if refused(turn, (resource, server)).await?.is_none() {
        return Ok(Outcome::done(format!("{role} is let in already")));
    }
    // Where it was fenced, the first look has not come to this.
    if let Some(why) = not_to_be_set(turn, resource).await? {
        return Ok(Outcome::skipped(why));
    }
    let tries: &[bool] = match turn.memo.password_only {
        true => &[true],
        false => &[false, true],
    };
    let mut said = Vec::new();
    let mut last = String::new();
    for with_password in tries.iter().copied() {
        said.extend(set(turn, (resource, server), with_password).await?);
        match refused(turn, (resource, server)).await? {
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
    turn: &Context<'_>,
    on: (&Resource, &Server),
    with_password: bool,
) -> Result<Vec<String>, Outcome> {
    let resource = on.0;
    let (set_it, input) = if with_password {
        let verifier = scram_sha_256(resource.password.expose_secret().as_bytes());
        ("true", format!("\\set verifier '{verifier}'\n"))
    } else {
        ("false", String::new())
    };
    let arguments = [resource.role.as_str(), set_it];
    let said = script::at_cluster(turn, on, RESTORE_LOGIN, &arguments, input.as_bytes()).await;
    let said = said.map_err(script::or_skip)?;
    Ok(said.text().lines().map(str::to_owned).collect())
}

fn touched(role: &str, server: &Server) -> String {
    format!("role {role} on {}", server.subject.name)
}
