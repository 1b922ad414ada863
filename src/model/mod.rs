//! The words of the record, as types.

mod action;
mod address;
mod cause;
mod figures;
mod gameday;
mod id;
mod incident;
mod lane;
mod leader_change;
mod message;
mod observation;
mod operation;
mod rules;
mod secret;
mod subject;
mod text_column;
mod window;

pub use action::{OperationAction, SubjectAction};
pub use address::is_no_servers;
pub use cause::CauseProfile;
pub use figures::{
    Archiver, CloudEvent, CloudFigures, Cluster, Connections, DroverRoot, Each, Follower, Fsync,
    Memory, ObeyedWord, Receiver, ResourceFigures, ServerFigures, Slot, Volume,
};
pub use gameday::{Gameday, Harm};
pub use id::{
    DeploymentId, IdError, IncidentId, LeaderChangeId, MessageId, ObservationId, OperationId,
    PublicId, RowId, SubjectId, TransitionId,
};
pub use incident::{
    Action, Channel, Deed, Evidence, FailsOver, Incident, IncidentKind, IncidentProfile,
    IncidentState, Mode, Note, Opening, Severity,
};
pub use lane::Lane;
pub use leader_change::{LeaderChange, LeaderChangeKind, Node};
pub use message::{Matter, Message, MessageState, Provider};
pub use observation::{Attributes, Cause, Observation, Witness};
pub use operation::{Adopted, AskedOf, Operation, OperationKind, OperationProfile, OperationState};
pub use rules::{Cadence, Limits, Patience, Rules};
pub use secret::{ExposeSecret, SealError, Secret, SecretKey, secret};
pub(crate) use subject::named;
pub use subject::{
    Cloud, ClusterIdentity, Customer, DataVolume, Durability, Kind, Origin, RequireAuth, Resource,
    Server, State, Subject, TlsMode, slot_of,
};
pub(crate) use text_column::text_column;
pub use window::{NoWindow, WINDOW_HOURS, Window};
