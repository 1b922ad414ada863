//! The leaders with their followers, as the record has them and as their nodes are seen.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use super::felt;
use super::leads::{Leads, NodeSeen, who_leads};
use crate::model::{DeploymentId, Observation, SubjectId};
use crate::store::observations;
use crate::store::statement::rows;

/// What a node has said is not what it would say now, if it is older than this.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// A leader and its followers, of which the record may be wrong.
#[derive(Clone, Debug)]
pub struct Group {
    /// Who leads by the record.
    pub leader: SubjectId,
    /// Its name.
    pub name: String,
    /// All of them, the leader first.
    pub nodes: Vec<NodeSeen>,
    /// Who leads by the nodes' word.
    pub leads: Leads,
}

/// The leaders whose record differs from what the nodes say, or may. `told` are nodes of which
/// a person has said that they lead.
///
/// # Errors
/// What the database said.
pub async fn compare(db: &mut PgConnection, told: &[SubjectId]) -> sqlx::Result<Vec<Group>> {
    let differs = |group: &Group| {
        let knows_more = |node: &NodeSeen| node.epoch.is_some_and(|of| of > node.recorded);
        group.leads != Leads::AsRecorded || group.nodes.iter().any(knows_more)
    };
    let groups = groups(db, told).await?.into_iter();
    Ok(groups.filter(differs).collect())
}

pub(super) async fn groups(db: &mut PgConnection, told: &[SubjectId]) -> sqlx::Result<Vec<Group>> {
    #[derive(FromRow)]
    struct Node {
        id: SubjectId,
        name: String,
        leader: SubjectId,
        server: SubjectId,
        deployment: DeploymentId,
        epoch: i64,
        word_key: Option<String>,
        system_identifier: Option<String>,
    }
    let sql = "select r.id, s.name, coalesce(r.leader_id, r.id) as leader, r.server_id as server,
                      d.id as deployment, r.epoch, s.word_key, r.system_identifier
               from deployment d, resources r join subjects s on s.id = r.id
               where s.forgotten_at is null
               order by leader, r.leader_id nulls first, r.id";
    let nodes: Vec<Node> = rows(db, sql, ()).await?;
    let servers: Vec<SubjectId> = nodes.iter().map(|node| node.server).collect();
    let felt = felt(db, &servers).await?;
    let ids: Vec<SubjectId> = nodes.iter().map(|node| node.id).collect();
    let seen: HashMap<SubjectId, Observation> =
        observations::newest(db, &ids).await?.into_iter().collect();
    let now: DateTime<Utc> = crate::store::now(db).await?;
    let node_seen = |node: &Node| {
        let (own, deployment) = (node.word_key.as_deref(), node.deployment.to_string());
        // One that the record has not seen a word of is known by its system identifier.
        let prefix = node.system_identifier.as_ref().map(|id| format!("{id}-"));
        let is_its = |key: &str| match own {
            Some(own) => key == own,
            None => prefix
                .as_deref()
                .is_some_and(|prefix| key.starts_with(prefix)),
        };
        let words = felt.get(&node.server).map_or(&[][..], Vec::as_slice);
        let mut words = words.iter();
        let word = words.find(|word| {
            word.deployment.as_ref() == Some(&deployment) && word.key.as_deref().is_some_and(is_its)
        });
        let fresh = |seen: &&Observation| seen.created_at > now - FRESH;
        let seen = seen.get(&node.id).filter(fresh);
        let seen = seen.filter(|seen| seen.attributes.service_available);
        NodeSeen {
            id: node.id,
            name: node.name.clone(),
            takes_writes: seen.and_then(|seen| Some(!seen.attributes.resource.in_recovery?)),
            epoch: word.and_then(|word| word.epoch),
            recorded: node.epoch,
            timeline: seen.and_then(|seen| u32::try_from(seen.attributes.resource.timeline?).ok()),
        }
    };
    let groups = nodes
        .chunk_by(|a, b| a.leader == b.leader)
        .filter_map(|nodes| {
            let leader = nodes.iter().find(|node| node.id == node.leader)?;
            let seen: Vec<NodeSeen> = nodes.iter().map(node_seen).collect();
            let leads = who_leads(leader.id, &seen, told);
            Some(Group {
                leader: leader.id,
                name: leader.name.clone(),
                nodes: seen,
                leads,
            })
        });
    Ok(groups.collect())
}
