//! How subjects, observations and transitions are shown. No view has a place
//! for a secret.

use super::check;
use super::incident_views::open_incident;
use super::modes::mode_set;
use super::operation_views::running;
use crate::api::{self, Page, Public};
use crate::model::{
    Kind, LeaderChange, Observation, Operation, PublicId, Resource, Server, SubjectId,
};
use crate::store::incidents::Open;
use crate::store::modes::Set;
use crate::store::subjects::Known;

/// A page of at most `limit` out of rows that were read with one more, which tells
/// whether there is a next page.
pub fn cut<T>(mut rows: Vec<T>, limit: i64, cursor: impl FnOnce(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(cursor);
    Page {
        items: rows,
        next_cursor,
    }
}

/// What is shown with a subject, besides itself.
#[derive(Default)]
pub struct Beside {
    /// The newest that was seen of it.
    pub last: Option<Observation>,
    /// The mode that holds for it, if not `act`.
    pub mode: Option<Set>,
    /// Its open incidents.
    pub incidents: Vec<Open>,
    /// What is being done to it.
    pub operation: Option<Operation>,
    /// A resource's live followers, oldest first.
    pub followers: Vec<SubjectId>,
    /// The last change in which a resource took a lead or gave it away.
    pub leader_change: Option<LeaderChange>,
}

/// Shows a subject with what stands beside it in the record.
pub fn subject(known: Known, beside: Beside) -> api::Subject {
    let subject = known.subject().clone();
    let core = api::SubjectCore {
        id: PublicId::new(subject.kind, subject.id),
        kind: subject.kind,
        name: subject.name,
        state: subject.state,
        state_since: subject.state_since,
        origin: subject.origin,
        tier: subject.tier,
        created_at: subject.created_at,
    };
    let standing = api::Standing {
        mode: mode_set(beside.mode),
        incidents: beside.incidents.into_iter().map(open_incident).collect(),
        operation: beside.operation.as_ref().map(running),
        last_observation: beside.last.map(observation),
    };
    match known {
        Known::Server(it) => api::Subject::Server(Box::new(server(*it, core, standing))),
        Known::Resource(it, _) => {
            let (followers, change) = (&beside.followers, beside.leader_change);
            let shown = resource(*it, core, standing, followers, change);
            api::Subject::Resource(Box::new(shown))
        }
    }
}

fn server(server: Server, core: api::SubjectCore, standing: api::Standing) -> api::Server {
    api::Server {
        core,
        address: Some(server.address).filter(|known| !known.is_empty()),
        ssh_port: server.ssh_port,
        ssh_user: Some(server.ssh_user).filter(|known| !known.is_empty()),
        host_key_fingerprint: server.host_key.as_deref().and_then(check::fingerprint),
        host_key: server.host_key,
        cloud: server.cloud,
        instance_id: server.instance_id,
        region: server.region,
        zone: server.zone,
        size: server.size,
        volume: server.volume,
        for_plan: server.for_plan,
        standing,
    }
}

fn resource(
    resource: Resource,
    core: api::SubjectCore,
    standing: api::Standing,
    followers: &[SubjectId],
    change: Option<LeaderChange>,
) -> api::Resource {
    // What drover made has a role and a database of drover's own, which are
    // nobody else's business.
    let (database, user) = match resource.customer {
        Some(customer) => (customer.database, customer.role),
        None => (resource.database, resource.role),
    };
    let of_resource = |id: &SubjectId| PublicId::new(Kind::Resource, *id);
    api::Resource {
        core,
        server: PublicId::new(Kind::Server, resource.server_id),
        port: resource.port,
        database,
        user,
        tls_mode: resource.tls_mode,
        require_auth: resource.require_auth,
        plan: resource.plan,
        maintenance_window: resource.window.map(|window| window.to_string()),
        leader: resource.leader.as_ref().map(of_resource),
        followers: followers.iter().map(of_resource).collect(),
        epoch: resource.epoch,
        leader_change: change.map(|change| api::LastLeaderChange {
            id: Public(change.id),
            at: change.at,
            kind: change.kind,
        }),
        durability: resource.durability,
        max_lag_bytes: resource.max_lag_bytes,
        standing,
    }
}

/// Shows an observation.
pub fn observation(seen: Observation) -> api::Observation {
    api::Observation {
        id: format!("obs_{}", seen.id),
        created_at: seen.created_at,
        worker: seen.worker,
        feelers: seen.feelers,
        attributes: seen.attributes,
    }
}
