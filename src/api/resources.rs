//! Resources.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Public, Standing, SubjectCore};
use crate::model::{
    Cloud, Durability, LeaderChangeId, LeaderChangeKind, PublicId, RequireAuth, State, TlsMode,
};

/// A resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    /// What it has in common with servers.
    #[serde(flatten)]
    pub core: SubjectCore,
    /// The server it is on.
    pub server: PublicId,
    /// The port that it listens on there.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role that customers log in as.
    pub user: String,
    /// How connections use TLS.
    pub tls_mode: TlsMode,
    /// What it may ask for before it lets drover in.
    pub require_auth: RequireAuth,
    /// What was bought.
    pub plan: String,
    /// When it may be disturbed; null: in the deployment's own window.
    pub maintenance_window: Option<String>,
    /// The leader that it follows; null: it leads.
    pub leader: Option<PublicId>,
    /// Its followers, oldest first.
    pub followers: Vec<PublicId>,
    /// Counts the changes of leader.
    pub epoch: i64,
    /// When it last took a lead or gave it away; null: never.
    pub leader_change: Option<LastLeaderChange>,
    /// What its commits wait for.
    pub durability: Durability,
    /// How far behind, in bytes of WAL, a follower may be that drover promotes.
    pub max_lag_bytes: u64,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The last change of leader that a resource had part in: `GET /v1/events` has it all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastLeaderChange {
    /// Its event.
    pub id: Public<LeaderChangeId>,
    /// When.
    pub at: DateTime<Utc>,
    /// How.
    pub kind: LeaderChangeKind,
}

/// How a customer's database is reached. It holds the password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// The server's address.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The customer's database.
    pub database: String,
    /// The customer's role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// What the server's certificate is checked against (PEM); null until it has one.
    pub tls_root_cert: Option<String>,
    /// The same for libpq and its kin.
    pub url: String,
}

/// Where a resource is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionUrl {
    /// All its nodes in one address, without a password.
    pub url: String,
    /// Its nodes, the leader first.
    pub nodes: Vec<Node>,
    /// For libpq's `sslrootcert`, which is a file; null until there is one.
    pub tls_root_certs: Option<String>,
}

/// A node of a resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: PublicId,
    /// Its name.
    pub name: String,
    /// Whether it leads.
    pub role: Role,
    /// Where it stands.
    pub state: State,
    /// Its server's address.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Its server's availability zone.
    pub zone: Option<String>,
}

/// What a node is to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It takes writes.
    Leader,
    /// It is read only.
    Follower,
}

/// `POST /v1/resources` with a server: a database that is there already.
#[derive(Clone, PartialEq, Serialize)]
pub struct AdoptResource {
    /// The server it is on.
    pub server: PublicId,
    /// Its name in the herd.
    pub name: String,
    /// Port PostgreSQL listens on.
    pub port: u16,
    /// Database to connect to.
    pub database: String,
    /// Role to connect as.
    pub user: String,
    /// Its password.
    pub password: String,
    /// How connections use TLS; `require` if nobody says.
    pub tls_mode: Option<TlsMode>,
    /// PEM of the authorities that `verify-full` trusts.
    pub tls_root_cert: Option<String>,
    /// What it may ask for before it lets drover in; `scram-sha-256` if nobody says.
    pub require_auth: Option<RequireAuth>,
    /// What was bought.
    pub plan: Option<String>,
    /// Whose rules it goes by.
    pub tier: Option<String>,
}

/// `POST /v1/resources` without a server: a database that drover is to make.
#[derive(Clone, PartialEq, Serialize)]
pub struct CreateResource {
    /// Its name in the herd.
    pub name: String,
    /// What is bought.
    pub plan: String,
    /// In which cloud; the only one if nobody says.
    pub cloud: Option<Cloud>,
    /// In which region; the only one if nobody says.
    pub region: Option<String>,
    /// In which availability zone; any if nobody says.
    pub zone: Option<String>,
    /// When it may be disturbed; in the deployment's own window if nobody says.
    pub maintenance_window: Option<String>,
    /// What its commits wait for; the plan's own if nobody says.
    pub durability: Option<Durability>,
    /// The customer's password; without one, one is made.
    pub password: Option<String>,
}

/// `POST /v1/resources/{id}/followers`.
#[derive(Clone, Debug, PartialEq, Default, Serialize)]
pub struct CreateFollower {
    /// Its name in the herd; its leader's and six letters if nobody says.
    pub name: Option<String>,
    /// In which availability zone; where the fewest of its leader's nodes are if nobody
    /// says.
    pub zone: Option<String>,
    /// Its size, one of the plan's.
    pub size: Option<String>,
}
