//! How the record stands beside what the servers know.

use serde::{Deserialize, Serialize};

use crate::model::PublicId;

/// `GET /v1/record`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Whose record it is.
    pub deployment: String,
    /// The database of the herd that the record itself is kept in; null: none of them. drover
    /// cannot take the lead of that one to another while it is away.
    pub hosted_by: Option<PublicId>,
    /// Why it may be older than what the servers know; null: it is not. While it is, nothing
    /// is changed.
    pub doubt: Option<String>,
    /// The leaders and followers of which it differs from what the nodes say, or may.
    pub differences: Vec<RecordDifference>,
}

/// A leader and its followers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordDifference {
    /// Who leads by the record.
    pub leader: PublicId,
    /// Its name.
    pub name: String,
    /// Who leads by the nodes' word; null: they do not say it.
    pub leads: Option<PublicId>,
    /// Why they do not.
    pub why: Option<String>,
    /// All of them, the leader first.
    pub nodes: Vec<RecordNode>,
}

/// What was seen of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordNode {
    /// Which.
    pub id: PublicId,
    /// Its name.
    pub name: String,
    /// Whether it takes writes; null: it was not seen in service within 5 minutes.
    pub takes_writes: Option<bool>,
    /// The newest epoch that it has obeyed a word of.
    pub epoch: Option<i64>,
    /// Its epoch by the record.
    pub recorded_epoch: i64,
}

/// `POST /v1/record/adopt`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AdoptRecord {
    /// Nodes that lead, where the nodes do not say it.
    pub leaders: Vec<PublicId>,
    /// Whether this is another's copy, and is to be a deployment of its own.
    pub copy: bool,
    /// Why, for the timeline.
    pub reason: Option<String>,
    /// Who asks, for the timeline.
    pub by: Option<String>,
}
