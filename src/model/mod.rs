//! The words of the record, as types.

mod id;
mod incident;
mod message;
mod observation;
mod rules;
mod secret;
mod subject;

pub use id::{
    IdError, IncidentId, MessageId, ObservationId, PublicId, RowId, SubjectId, TransitionId,
};
pub use incident::{
    Action, Channel, Deed, Incident, IncidentKind, IncidentState, Mode, Note, Opening, Severity,
};
pub use message::{Message, MessageState, Provider};
pub use observation::{Attributes, Cause, Observation, Witness};
pub use rules::{Cadence, Limits, Patience, Rules};
pub use secret::{ExposeSecret, SealError, Secret, SecretKey, secret};
pub use subject::{Cloud, Kind, Origin, Resource, Server, State, Subject, TlsMode};
