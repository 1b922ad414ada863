//! How subjects, observations and transitions are shown. No view has a place
//! for a secret.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::check;
use super::incident_views::OpenView;
use super::modes::ModeView;
use super::operation_views::RunningView;
use crate::model::{
    Attributes, Cloud, Durability, Kind, LeaderChange, LeaderChangeKind, Observation, Operation,
    Origin, PublicId, Resource, Server, State, SubjectId, TlsMode,
};
use crate::store::incidents::Open;
use crate::store::modes::Set;
use crate::store::subjects::Known;
use crate::store::transitions::Transition;

/// A listing's page.
#[derive(Serialize)]
pub struct PageView<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask the next page with; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> PageView<T> {
    /// A page of at most `limit` out of rows that were read with one more, which
    /// tells whether there is a next page.
    pub fn cut(mut rows: Vec<T>, limit: i64, cursor: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self {
            items: rows,
            next_cursor,
        }
    }

    /// The same page, with its items shown.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> PageView<U> {
        PageView {
            items: self.items.into_iter().map(show).collect(),
            next_cursor: self.next_cursor,
        }
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

/// A subject.
#[derive(Serialize)]
pub struct SubjectView {
    id: PublicId,
    kind: Kind,
    name: String,
    state: State,
    state_since: DateTime<Utc>,
    origin: Origin,
    tier: String,
    created_at: DateTime<Utc>,
    #[serde(flatten)]
    of_kind: OfKind,
    /// What resolvers may do with it.
    mode: ModeView,
    /// Its open incidents, oldest first.
    incidents: Vec<OpenView>,
    /// What was asked for and is not done yet.
    operation: Option<RunningView>,
    last_observation: Option<ObservationView>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OfKind {
    Server(ServerView),
    Resource(ResourceView),
}

#[derive(Serialize)]
struct ServerView {
    /// Null while it is being made and its cloud has not said it.
    address: Option<String>,
    ssh_port: u16,
    ssh_user: Option<String>,
    host_key: Option<String>,
    host_key_fingerprint: Option<String>,
    cloud: Option<Cloud>,
    instance_id: Option<String>,
    region: Option<String>,
    zone: Option<String>,
    size: Option<String>,
    volume: Option<VolumeView>,
    /// The plan whose resources it was made for.
    for_plan: Option<String>,
}

#[derive(Serialize)]
struct VolumeView {
    gib: u32,
    r#type: String,
    id: Option<String>,
}

#[derive(Serialize)]
struct ResourceView {
    server: PublicId,
    port: u16,
    database: String,
    user: String,
    tls_mode: TlsMode,
    plan: String,
    /// Null: the deployment's own.
    maintenance_window: Option<String>,
    /// Whom it follows; null: it leads.
    leader: Option<PublicId>,
    /// Who follows it, oldest first.
    followers: Vec<PublicId>,
    /// Counts the changes of leader.
    epoch: i64,
    /// When it last took a lead or gave it away; null: never.
    leader_change: Option<LeaderChangeView>,
    durability: Durability,
    max_lag_bytes: u64,
}

/// The last change of leader that a resource had part in: `GET /v1/events` has it all.
#[derive(Serialize)]
struct LeaderChangeView {
    id: String,
    at: DateTime<Utc>,
    kind: LeaderChangeKind,
}

impl SubjectView {
    /// Shows a subject with what stands beside it in the record.
    pub fn new(known: Known, beside: Beside) -> Self {
        let subject = known.subject().clone();
        let of_kind = match known {
            Known::Server(server) => OfKind::Server(ServerView::new(*server)),
            Known::Resource(resource, _) => {
                let change = beside.leader_change.as_ref();
                OfKind::Resource(ResourceView::new(*resource, &beside.followers, change))
            }
        };
        Self {
            id: PublicId::new(subject.kind, subject.id),
            kind: subject.kind,
            name: subject.name,
            state: subject.state,
            state_since: subject.state_since,
            origin: subject.origin,
            tier: subject.tier,
            created_at: subject.created_at,
            of_kind,
            mode: ModeView::new(beside.mode),
            incidents: beside.incidents.into_iter().map(OpenView::new).collect(),
            operation: beside.operation.as_ref().map(RunningView::new),
            last_observation: beside.last.map(ObservationView::new),
        }
    }
}

impl ServerView {
    fn new(server: Server) -> Self {
        Self {
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
            volume: server.volume.map(|volume| VolumeView {
                gib: volume.gib,
                r#type: volume.kind,
                id: volume.id,
            }),
            for_plan: server.for_plan,
        }
    }
}

impl ResourceView {
    fn new(resource: Resource, followers: &[SubjectId], change: Option<&LeaderChange>) -> Self {
        // What drover made has a role and a database of drover's own, which are
        // nobody else's business.
        let (database, user) = match resource.customer {
            Some(customer) => (customer.database, customer.role),
            None => (resource.database, resource.role),
        };
        Self {
            server: PublicId::new(Kind::Server, resource.server_id),
            port: resource.port,
            database,
            user,
            tls_mode: resource.tls_mode,
            plan: resource.plan,
            maintenance_window: resource.window.map(|window| window.to_string()),
            leader: resource.leader.map(|id| PublicId::new(Kind::Resource, id)),
            followers: followers
                .iter()
                .map(|id| PublicId::new(Kind::Resource, *id))
                .collect(),
            epoch: resource.epoch,
            leader_change: change.map(|change| LeaderChangeView {
                id: change.id.public(),
                at: change.at,
                kind: change.kind,
            }),
            durability: resource.durability,
            max_lag_bytes: resource.max_lag_bytes,
        }
    }
}

/// An observation.
#[derive(Serialize)]
pub struct ObservationView {
    id: String,
    created_at: DateTime<Utc>,
    worker: String,
    feelers: u16,
    attributes: Attributes,
}

impl ObservationView {
    /// Shows an observation.
    pub fn new(seen: Observation) -> Self {
        Self {
            id: format!("obs_{}", seen.id),
            created_at: seen.created_at,
            worker: seen.worker,
            feelers: seen.feelers,
            attributes: seen.attributes,
        }
    }
}

/// A change of state.
#[derive(Serialize)]
pub struct TransitionView {
    id: String,
    created_at: DateTime<Utc>,
    from: String,
    to: String,
    reason: String,
    /// Null: an operation caused it.
    observation: Option<String>,
    opens: Option<String>,
    worker: String,
}

impl TransitionView {
    /// Shows a change of state.
    pub fn new(change: Transition) -> Self {
        Self {
            id: format!("tra_{}", change.id),
            created_at: change.created_at,
            from: change.from_state,
            to: change.to_state,
            reason: change.reason,
            observation: change.observation_id.map(|id| format!("obs_{id}")),
            opens: change.opens,
            worker: change.worker,
        }
    }
}
