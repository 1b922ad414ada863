//! Servers.

use serde::{Deserialize, Serialize};

use super::{Standing, SubjectCore};
use crate::model::{Cloud, DataVolume};

/// A server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// What it has in common with resources.
    #[serde(flatten)]
    pub core: SubjectCore,
    /// Null while it is being made and its cloud has not said it.
    pub address: Option<String>,
    /// Port of its sshd.
    pub ssh_port: u16,
    /// Whom to log in as.
    pub ssh_user: Option<String>,
    /// The pinned host key.
    pub host_key: Option<String>,
    /// The same as people compare it.
    pub host_key_fingerprint: Option<String>,
    /// The cloud it runs in.
    pub cloud: Option<Cloud>,
    /// What that cloud calls it.
    pub instance_id: Option<String>,
    /// Region of its cloud.
    pub region: Option<String>,
    /// Availability zone.
    pub zone: Option<String>,
    /// What its cloud calls its size.
    pub size: Option<String>,
    /// Its data volume.
    pub volume: Option<DataVolume>,
    /// The plan whose resources it was made for.
    pub for_plan: Option<String>,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A server just adopted, and what a person should know of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdoptedServer {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// What the first contact told.
    pub note: Option<String>,
    /// What root runs once, so that drover may do there all that it has to; null where no
    /// drover-root is missing.
    pub helper: Option<String>,
}

/// `POST /v1/servers` with an address: a server that is there already.
#[derive(Clone, PartialEq, Default, Serialize)]
pub struct AdoptServer {
    /// Its name in the herd.
    pub name: String,
    /// IP address or host name.
    pub address: String,
    /// Port of its sshd; 22 if nobody says.
    pub ssh_port: Option<u16>,
    /// Whom to log in as; `postgres` if nobody says.
    pub ssh_user: Option<String>,
    /// Private key; without one, the deployment's own is used.
    pub ssh_key: Option<String>,
    /// Its host key; without one, whichever the first contact shows is pinned.
    pub host_key: Option<String>,
    /// Whose rules it goes by.
    pub tier: Option<String>,
    /// The cloud it runs in; together with `instance_id`.
    pub cloud: Option<Cloud>,
    /// What that cloud calls it.
    pub instance_id: Option<String>,
    /// Availability zone.
    pub zone: Option<String>,
}

/// `POST /v1/servers` without an address: a server that drover is to make.
#[derive(Clone, Debug, PartialEq, Default, Serialize)]
pub struct CreateServer {
    /// Its name in the herd.
    pub name: String,
    /// In which cloud; the only one if nobody says.
    pub cloud: Option<Cloud>,
    /// In which region; the only one if nobody says.
    pub region: Option<String>,
    /// In which availability zone; any if nobody says.
    pub zone: Option<String>,
    /// Its size.
    pub size: Option<String>,
    /// GiB of its data volume.
    pub volume_gib: Option<u32>,
    /// The volume's type.
    pub volume_type: Option<String>,
    /// Whose rules it goes by.
    pub tier: Option<String>,
    /// PostgreSQL's major version.
    pub postgres: Option<u32>,
}
