//! Servers and resources: what travels round the ring.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{Secret, SubjectId, Window};

/// An enum whose values have one fixed name each, in the database, in JSON and
/// on the command line.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("must be one of: {}", known.join(", "))
                })
            }
        }

        $crate::model::text_column!($name);
    };
}
pub(crate) use named;

named! {
    /// What a subject is.
    Kind {
        /// A virtual machine that runs PostgreSQL.
        Server = "server",
        /// One database (cluster) on a server.
        Resource = "resource",
    }
}

named! {
    /// Where a subject stands in its state machine.
    State {
        /// Being made; its work is the resolvers'.
        Creating = "creating",
        /// The last feel saw it in service.
        Available = "available",
        /// It failed to answer, or has not been seen yet; felt often.
        Uncertain = "uncertain",
        /// It is down, and enough was seen to say so.
        Unavailable = "unavailable",
        /// Being taken away.
        Destroying = "destroying",
        /// Gone.
        Destroyed = "destroyed",
    }
}

named! {
    /// How a subject came to be in the herd.
    Origin {
        /// It was there before; drover looks after it and never destroys it.
        Adopted = "adopted",
        /// drover made it.
        Created = "created",
    }
}

named! {
    /// A cloud that can say how an instance is, and act on it.
    Cloud {
        /// Directories and loopback addresses of this machine.
        Local = "local",
        /// Amazon EC2.
        Ec2 = "ec2",
    }
}

named! {
    /// What a leader's commit waits for.
    Durability {
        /// Its own disk: what was not sent yet may be lost with the leader.
        Async = "async",
        /// Its own disk and a follower's: no acknowledged commit is ever lost.
        Sync = "sync",
    }
}

named! {
    /// How a connection to a resource uses TLS; libpq's words.
    TlsMode {
        /// No TLS.
        Disable = "disable",
        /// TLS if the server has it.
        Prefer = "prefer",
        /// TLS or nothing; any certificate.
        Require = "require",
        /// TLS, a certificate that is trusted, and for this address.
        VerifyFull = "verify-full",
    }
}

named! {
    /// What a resource may ask for before it lets drover in; libpq's words.
    RequireAuth {
        /// SCRAM, and under TLS bound to it, so that nobody can stand in between. The server
        /// shows that it knows the password, and learns nothing of it.
        ScramSha256 = "scram-sha-256",
        /// Whatever it asks for: MD5, and under TLS the password itself, too.
        Any = "any",
    }
}

/// What servers and resources have in common.
#[derive(Clone, Debug, FromRow)]
pub struct Subject {
    /// Its id and its token's.
    pub id: SubjectId,
    /// Server or resource.
    pub kind: Kind,
    /// Unique among the live subjects of its kind.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Since when it stands there.
    pub state_since: DateTime<Utc>,
    /// Adopted or created.
    pub origin: Origin,
    /// Whose rules it goes by.
    pub tier: String,
    /// When it entered the herd.
    pub created_at: DateTime<Utc>,
}

/// A virtual machine that runs PostgreSQL, and how to reach it.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it has in common with resources.
    pub subject: Subject,
    /// IP address or host name.
    pub address: String,
    /// Port of its sshd.
    pub ssh_port: u16,
    /// Whom to log in as.
    pub ssh_user: String,
    /// Private key in OpenSSH's format; `None`: the deployment's own key.
    pub ssh_key: Option<Secret>,
    /// The pinned host key, `ssh-ed25519 AAAA…`; `None` until the first contact.
    pub host_key: Option<String>,
    /// The cloud it runs in, if drover may ask that cloud.
    pub cloud: Option<Cloud>,
    /// What that cloud calls it.
    pub instance_id: Option<String>,
    /// Region of its cloud; `None` for one that was adopted.
    pub region: Option<String>,
    /// Availability zone.
    pub zone: Option<String>,
    /// What its cloud calls its size, if drover made it.
    pub size: Option<String>,
    /// Its data volume, if drover made it.
    pub volume: Option<DataVolume>,
    /// The plan whose resources it was made for.
    pub for_plan: Option<String>,
    /// Since when an incident says that it shows another host key than the pinned
    /// one. While it is open, nothing connects to what is on this server, and of
    /// the server itself only the host key is read.
    pub host_key_changed_at: Option<DateTime<Utc>>,
}

/// The disk that drover gave to a server for its clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataVolume {
    /// How large it is wanted.
    pub gib: u32,
    /// What its cloud calls the type: `gp3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its cloud calls it, once it is there.
    pub id: Option<String>,
}

/// What of a resource that drover made is the customer's.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The role that owns the database.
    pub role: String,
    /// The database.
    pub database: String,
    /// The role's password.
    pub password: Secret,
}

/// One database (cluster) on a server, and how to log in to it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it has in common with servers.
    pub subject: Subject,
    /// The server it is on.
    pub server_id: SubjectId,
    /// Port PostgreSQL listens on, at the server's address.
    pub port: u16,
    /// Its cluster, beside the port; `None` until it is first felt in service.
    pub cluster: Option<ClusterIdentity>,
    /// Database to connect to.
    pub database: String,
    /// Role to connect as.
    pub role: String,
    /// Its password.
    pub password: Secret,
    /// How the connection uses TLS.
    pub tls_mode: TlsMode,
    /// PEM of the authorities `verify-full` trusts; `None`: the system's.
    pub tls_root_cert: Option<String>,
    /// What it may ask for before it lets drover in.
    pub require_auth: RequireAuth,
    /// What was bought.
    pub plan: String,
    /// What is the customer's, if drover made it; what stands above is then
    /// drover's own role and database.
    pub customer: Option<Customer>,
    /// When it may be disturbed; `None`: the deployment's own window.
    pub window: Option<Window>,
    /// The resource that it follows; `None`: it leads.
    pub leader: Option<SubjectId>,
    /// Counts the changes of leader.
    pub epoch: i64,
    /// What a commit waits for.
    pub durability: Durability,
    /// How far behind, in bytes of WAL, a follower may be that drover promotes.
    pub max_lag_bytes: u64,
    /// What its followers log in with, if it has had any.
    pub replication_password: Option<Secret>,
}

/// What a cluster is known by, whoever has its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// What initdb gave it; its followers and copies have the same.
    pub system_identifier: String,
    /// What tells it apart from those; `None`: drover's role may not see it.
    pub data_directory: Option<String>,
}

/// What a follower's slot, and its sessions at the leader, are called.
pub fn slot_of(follower: SubjectId) -> String {
    format!("f_{}", follower.to_string().to_ascii_lowercase())
}
