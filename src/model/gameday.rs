//! Game days: something is broken on purpose, to see that it is mended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::subject::named;
use super::{Kind, OperationId, PublicId};

named! {
    /// In which way.
    Harm {
        /// SIGKILL to a database's postmaster and its children; of a server, to all.
        Kill = "kill",
        /// The server loses its power, and stays off.
        Unplug = "unplug",
        /// Nobody reaches the server's address.
        Partition = "partition",
        /// The data volume is filled up to its last 2 %.
        Fill = "fill",
        /// SIGSTOP: it takes connections, and never answers.
        Freeze = "freeze",
    }
}

impl Harm {
    /// Whether it is done to the whole server, whoever was named.
    pub fn is_of_server(self) -> bool {
        match self {
            Self::Unplug | Self::Partition | Self::Fill => true,
            Self::Kill | Self::Freeze => false,
        }
    }

    /// Whether it ends by itself, since no playbook can be expected to end it.
    pub fn ends(self) -> bool {
        match self {
            Self::Partition | Self::Fill => true,
            Self::Kill | Self::Unplug | Self::Freeze => false,
        }
    }

    /// Whether a person may take it back.
    pub fn can_be_healed(self) -> bool {
        match self {
            Self::Partition | Self::Fill | Self::Freeze => true,
            Self::Kill | Self::Unplug => false,
        }
    }
}

/// A game day as the record has it.
#[derive(Clone, Debug, FromRow)]
pub struct Gameday {
    /// The operation that breaks it: its id is the game day's.
    #[sqlx(rename = "operation_id")]
    pub id: OperationId,
    /// What.
    #[sqlx(flatten)]
    pub subject: PublicId,
    /// What that is called.
    pub name: String,
    /// How.
    pub how: Harm,
    /// Why.
    pub reason: Option<String>,
    /// Who wanted it.
    pub asked_by: String,
    /// When they did.
    #[sqlx(rename = "opened_at")]
    pub asked_at: DateTime<Utc>,
    /// Whether its operation is still open.
    pub open: bool,
    /// The moment before it was broken.
    pub broken_at: Option<DateTime<Utc>>,
    /// Why it was not broken.
    pub problem: Option<String>,
    /// From when on it is to be taken back.
    pub heal_at: Option<DateTime<Utc>>,
    /// When it was.
    pub healed_at: Option<DateTime<Utc>>,
}

impl Gameday {
    /// Whether a server was named.
    pub fn of_server(&self) -> bool {
        self.subject.kind == Kind::Server
    }
}
