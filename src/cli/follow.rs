//! `drover follow` and `drover url`.

use clap::{Args, ValueEnum};
use drover::api::{ConnectionUrl, CreateFollower};
use drover::model::{Kind, PublicId};

use super::create::{self, Wait};
use super::table::plain;
use super::who::Who;
use super::{Failure, Session, listing};

/// The follower that is wanted.
#[derive(Args)]
pub struct Follower {
    /// Its name in the herd [default: its leader's, and six letters].
    #[arg(long)]
    name: Option<String>,
    /// In which availability zone [default: where the fewest of this resource are].
    #[arg(long)]
    zone: Option<String>,
    /// Its size, one of the plan's [default: the first that the cloud has room for].
    #[arg(long)]
    size: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

/// The node that an address leads to.
#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    /// For clients that write.
    Leader,
    /// For clients that only read.
    Follower,
}

/// `drover follow`.
pub async fn follow(to: &Session<'_>, leader: Who, wanted: Follower) -> Result<(), Failure> {
    let leader = leader.find(&to.client).await?;
    resource(leader, "only a resource is followed")?;
    let path = format!("{}/followers", listing::path(leader));
    let body = CreateFollower {
        name: wanted.name,
        zone: wanted.zone,
        size: wanted.size,
    };
    create::make(to, &path, &body, wanted.wait).await
}

/// `drover url`.
pub async fn url(to: &Session<'_>, who: Who, role: Role) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    resource(id, "an address is a resource's")?;
    let role = match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
    };
    let path = format!("{}/url?role={role}", listing::path(id));
    to.show(&path, |shown: &ConnectionUrl| plain(&shown.url))
        .await
}

/// Refuses a server; `why` says whose it is.
///
/// # Errors
/// If it is one.
pub fn resource(id: PublicId, why: &str) -> Result<(), Failure> {
    match id.kind {
        Kind::Resource => Ok(()),
        Kind::Server => Err(Failure::WrongUse(format!("{id} is a server; {why}"))),
    }
}
