//! Whom a cluster follows: slots at a leader, and what a follower knows of it. Shared
//! by the operations that change the leader.

use drover::model::slot_of;
use drover::model::{ExposeSecret, Resource, Secret, Server, SubjectId};
use drover::store::creation;
use drover::store::subjects::{self, Known};
use postgres_protocol::password::scram_sha_256;

use super::create_follower::REPLICATION;
use super::{Context, Outcome, script};

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

/// Slot `$2` for a follower, which keeps up to `$3` MiB, and the role that streams.
const SLOT: &str = include_str!("../../host/scripts/make_slot.sh");

/// What [`SLOT`] reads.
fn slot_input(slot: &str, password: &Secret) -> String {
    let verifier = scram_sha_256(password.expose_secret().as_bytes());
    format!("\\set replication '{REPLICATION}'\n\\set verifier '{verifier}'\n\\set slot '{slot}'\n")
}

/// Makes the slot of a follower at a leader, and the role that it logs in as.
///
/// # Errors
/// The outcome of a step that cannot.
pub(super) async fn make_slot(
    turn: &Context<'_>,
    (leader, server): (&Resource, &Server),
    password: &Secret,
    follower: &Resource,
    keep_mib: i32,
) -> Result<String, Outcome> {
    let slot = slot_of(follower.subject.id);
    let input = slot_input(&slot, password);
    let arguments = [slot.as_str(), &keep_mib.to_string()];
    let on = (leader, server);
    let said = script::as_superuser(turn, on, SLOT, &arguments, input.as_bytes()).await?;
    Ok(said.last_words())
}

/// Has the cluster of port `$1` follow the one at `$2` port `$3`, from slot `$4`.
const FOLLOW: &str = concat!(
    include_str!("../../host/scripts/prelude/follow_arguments.sh"),
    include_str!("../../host/scripts/prelude/put.sh"),
    include_str!("../../host/scripts/prelude/leader.sh"),
    include_str!("../../host/scripts/follow.sh")
);

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
    let telling = Telling::new(follower, (leader, its_server), password);
    let telling =
        telling.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let (arguments, input) = (telling.arguments(), telling.input.as_bytes());
    let on = (follower, server);
    let said = script::at_cluster(turn, on, FOLLOW, &arguments, input).await?;
    Ok(said.last_words())
}

/// What [`FOLLOW`] is told.
struct Telling {
    host: String,
    port: String,
    slot: String,
    /// What it reads.
    input: String,
}

impl Telling {
    /// `None` if the leader's certificate is not known.
    fn new(
        follower: &Resource,
        (leader, its_server): (&Resource, &Server),
        password: &Secret,
    ) -> Option<Self> {
        let certificate = leader.tls_root_cert.as_deref()?;
        Some(Self {
            host: its_server.address.clone(),
            port: leader.port.to_string(),
            slot: slot_of(follower.subject.id),
            input: format!("{}{certificate}", pass_line(leader, its_server, password)),
        })
    }

    /// Behind the port.
    fn arguments(&self) -> [&str; 3] {
        [&self.host, &self.port, &self.slot]
    }
}

/// A line of libpq's password file: `host:port:database:user:password`.
pub(super) fn pass_line(leader: &Resource, server: &Server, password: &Secret) -> String {
    let host = server.address.replace('\\', "\\\\").replace(':', "\\:");
    let password = password.expose_secret();
    format!("{host}:{}:*:{REPLICATION}:{password}\n", leader.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::operations::create_follower::BACKUP;

    /// A follower that is made and one that is told anew go by the same settings.
    #[test]
    fn a_follower_notices_soon_that_its_leader_is_gone() {
        for setting in [
            "wal_receiver_timeout = ",
            "wal_receiver_status_interval = ",
            "wal_retrieve_retry_interval = ",
        ] {
            let of = |script: &str| {
                let (_, rest) = script.split_once(setting)?;
                let value = rest.split(['"', '\n']).next()?;
                Some(value.replace(['\'', '\\'], ""))
            };
            let told = of(FOLLOW);
            assert!(told.is_some(), "{setting}");
            assert_eq!(told, of(BACKUP), "{setting}");
        }
    }
}
