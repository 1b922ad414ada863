//! The words of the record, as types.

mod id;
mod observation;
mod rules;
mod secret;
mod subject;

pub use id::{IdError, ObservationId, PublicId, SubjectId, TransitionId};
pub use observation::{Attributes, Cause, Observation, Witness};
pub use rules::{Cadence, Patience, Rules};
pub use secret::{ExposeSecret, SealError, Secret, SecretKey, secret};
pub use subject::{Cloud, Kind, Origin, Resource, Server, State, Subject, TlsMode};
