//! Whom a cluster follows: slots at a leader, and what a follower knows of it. Shared
//! by the operations that change the leader.

use drover::model::slot_of;
use drover::model::{ExposeSecret, Resource, Secret, Server, SubjectId};
use drover::store::creation;
use drover::store::subjects::{self, Known};
use postgres_protocol::password::scram_sha_256;

use super::create_follower::REPLICATION;
use super::follows::keeps_its_lead;
use super::{Context, Outcome, script};
use crate::host::scripts::{FOLLOW, MAKE_SLOTS};

/// A resource with its server.
pub(super) type Node = (Box<Resource>, Box<Server>);

/// A resource of the record, with its secrets.
///
/// # Errors
/// If it has left the herd, or the record cannot be read.
pub(super) async fn node(turn: &Context<'_>, id: SubjectId) -> Result<Node, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let row = subjects::load(&mut db, &[id]).await?.pop();
    let row = row.ok_or_else(|| Outcome::hopeless("one of its nodes has left the herd"))?;
    let opened = row.open(&turn.tools.secret_key);
    match opened.map_err(|e| Outcome::hopeless(format!("the record: {e:#}")))? {
        Known::Resource(resource, server) => Ok((resource, server)),
        Known::Server(_) => Err(Outcome::hopeless("a server among databases")),
    }
}

/// The followers of a resource, oldest first.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn followers(turn: &Context<'_>, leader: SubjectId) -> Result<Vec<Node>, Outcome> {
    let ids = {
        let mut db = turn.tools.pool.acquire().await?;
        creation::followers_of(&mut db, leader).await?
    };
    let mut found = Vec::new();
    for id in ids {
        found.push(node(turn, id).await?);
    }
    Ok(found)
}

/// The password that followers of this resource log in with.
///
/// # Errors
/// If it has none.
pub(super) fn replication_password(leader: &Resource) -> Result<&Secret, Outcome> {
    let password = leader.replication_password.as_ref();
    password.ok_or_else(|| Outcome::hopeless("there is no password for followers"))
}

/// Makes the slots of followers at a leader, and the role that they log in as.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn make_slots(
    turn: &Context<'_>,
    (leader, server): (&Resource, &Server),
    password: &Secret,
    followers: &[&Resource],
    keep_mib: i32,
) -> Result<String, Outcome> {
    let verifier = scram_sha_256(password.expose_secret().as_bytes());
    let input = format!("\\set replication '{REPLICATION}'\n\\set verifier '{verifier}'\n");
    let slots = followers.iter().map(|one| slot_of(one.subject.id));
    let arguments: Vec<String> = [keep_mib.to_string()].into_iter().chain(slots).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let on = (leader, server);
    let said = script::at_cluster(turn, on, MAKE_SLOTS, &arguments, input.as_bytes()).await?;
    Ok(said.last_words())
}

/// Has a cluster follow a leader, from the slot that it has there.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn follow(
    turn: &Context<'_>,
    (follower, server): (&Resource, &Server),
    (leader, its_server): (&Resource, &Server),
    password: &Secret,
) -> Result<String, Outcome> {
    keeps_its_lead(turn, leader.subject.id).await?;
    let certificate = leader.tls_root_cert.as_deref();
    let certificate =
        certificate.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let input = format!("{}{certificate}", pass_line(leader, its_server, password));
    let (port, slot) = (leader.port.to_string(), slot_of(follower.subject.id));
    let arguments = [its_server.address.as_str(), &port, &slot];
    let on = (follower, server);
    let said = script::at_cluster(turn, on, FOLLOW, &arguments, input.as_bytes()).await?;
    Ok(said.last_words())
}

/// A line of libpq's password file: `host:port:database:user:password`.
pub(super) fn pass_line(leader: &Resource, server: &Server, password: &Secret) -> String {
    let host = server.address.replace('\\', "\\\\").replace(':', "\\:");
    let password = password.expose_secret();
    format!("{host}:{}:*:{REPLICATION}:{password}\n", leader.port)
}
