//! What crosses the wire: the requests and answers of the HTTP API, one file per area.
//! web builds its answers as these types and reads requests into them; the client, the
//! command and the tests send and read the same ones.
//!
//! Fields stand in the order in which they are sent. An answer may bear fields that its
//! reader does not know (a newer server's); one that it lacks is an error, unless it may be
//! null. A request is only ever read by web's own code (`web/body.rs`), whose refusals
//! repeat no value: some of ours are passwords and keys. For the same reason what holds a
//! secret has no `Debug`.
//!
//! A row of the record that is shown as it stands is read into its type here: `store` may
//! use these.
//!
//! Architecture Invariant: this knows the model and nothing of the record.

mod actions;
mod error;
mod events;
mod gameday;
mod health;
mod id;
mod incidents;
mod jobs;
mod messages;
mod modes;
mod operations;
mod orphans;
mod page;
mod plans;
mod record;
mod resolvers;
mod resources;
mod ring;
mod servers;
mod subjects;
mod tiers;

pub use actions::{ActOnSubject, Ask};
pub use error::{ErrorAnswer, IN_PROGRESS, Refusal};
pub use events::{Event, EventNode};
pub use gameday::{
    BreakOnPurpose, Gameday, GamedayIncident, GamedayLeader, GamedayRemedy, Passed, Stage,
};
pub use health::{Health, HealthStatus};
pub use id::{Prefixed, Public};
pub use incidents::{
    ActOn, ActOnIncident, Incident, IncidentMessage, IncidentTimeline, OpenIncident, Run,
    TimelineEvent,
};
pub use jobs::{AskForJob, JobAskedFor};
pub use messages::{ActOnMessage, Message};
pub use modes::{ModeSet, SetMode};
pub use operations::{ActOnOperation, Operation, OperationTimeline, RunningOperation};
pub use orphans::Orphan;
pub use page::Page;
pub use plans::{Plan, Region, Size};
pub use record::{AdoptRecord, Record, RecordDifference, RecordNode};
pub use resolvers::{Budget, Playbook, Published, Remedy, Step};
pub use resources::{
    AdoptResource, ConnectionUrl, CreateFollower, CreateResource, Credentials, LastLeaderChange,
    Node, Resource, Role,
};
pub use ring::{Counts, MessageCounts, OrphanCount, Ring, count};
pub use servers::{AdoptServer, AdoptedServer, CreateServer, Server};
pub use subjects::{Observation, Standing, Subject, SubjectCore, Transition};
pub use tiers::{PutTier, Tier};
