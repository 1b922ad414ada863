//! `drover follow` and `drover url`.

use clap::{Args, ValueEnum};
use drover::api::{ConnectionUrl, CreateFollower};
use drover::client::Client;
use drover::model::{Kind, PublicId};

use super::create::{self, Wait};
use super::table::plain;
use super::{Answer, Failure, answer, listing};

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
pub async fn follow(
    client: &Client,
    leader: PublicId,
    wanted: Follower,
    json: bool,
) -> Result<(), Failure> {
    resource(leader, "only a resource is followed")?;
    let path = format!("{}/followers", listing::path(leader));
    let body = CreateFollower {
        name: wanted.name,
        zone: wanted.zone,
        size: wanted.size,
    };
    create::make(client, &path, &body, wanted.wait, json).await
}

/// `drover url`.
pub async fn url(client: &Client, id: PublicId, role: Role, json: bool) -> Result<(), Failure> {
    resource(id, "an address is a resource's")?;
    let role = match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
    };
    let path = format!("{}/url?role={role}", listing::path(id));
    let shown: Answer<ConnectionUrl> = client.get(&path).await?;
    answer(&shown, json, |shown| plain(&shown.url))
}

fn resource(id: PublicId, why: &str) -> Result<(), Failure> {
    match id.kind {
        Kind::Resource => Ok(()),
        Kind::Server => Err(Failure::WrongUse(format!("{id} is a server; {why}"))),
    }
}
