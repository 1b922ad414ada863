//! Clouds: what can say how an instance is, beside the instance itself, and what
//! can be done to it from outside.
//!
//! Architecture Invariant: nothing here is about PostgreSQL as a customer sees
//! it; a cloud knows machines.

mod any;
#[cfg(feature = "ec2")]
pub mod ec2;
mod harm;
pub mod local;
mod user_data;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{Secret, SubjectId};
use serde::{Deserialize, Serialize};

pub use any::{AnyCloud, Clouds, LOCAL_REGION};

/// How a cloud says an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// It is being started.
    Pending,
    /// It runs, as far as the cloud can see from outside.
    Running,
    /// It is being stopped.
    Stopping,
    /// It is stopped, and can be started again.
    Stopped,
    /// It is being taken away.
    ShuttingDown,
    /// It is gone.
    Terminated,
    /// A word of the cloud's that is none of these.
    Unknown(String),
}

/// What an instance is called that its cloud does not know.
pub const NOT_FOUND: &str = "not-found";

impl InstanceState {
    /// The cloud does not know it: not yet, for as long as
    /// [`Cloud::consistent_within`] after it was made, or not any more.
    pub fn not_found() -> Self {
        Self::Unknown(NOT_FOUND.to_owned())
    }

    /// Whether it is terminated, or the cloud does not know it. Of an instance that
    /// was made less than [`Cloud::consistent_within`] ago this says nothing.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Terminated => true,
            Self::Unknown(word) => word == NOT_FOUND,
            Self::Pending | Self::Running | Self::Stopping | Self::Stopped | Self::ShuttingDown => {
                false
            }
        }
    }
}

/// What a cloud says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What the cloud calls it.
    pub id: String,
    /// How it is.
    pub state: InstanceState,
    /// The same for people: `instance pg-1 is stopped`.
    pub detail: String,
    /// Another value after each boot, so that a worker that died after it asked
    /// for a reboot is followed by one that can tell. `None` while the instance
    /// is not running, and from a cloud that does not know.
    pub boot: Option<String>,
    /// Where it can be reached, once it has an address.
    pub address: Option<String>,
    /// The availability zone it is in.
    pub zone: Option<String>,
    /// What the cloud calls its size.
    pub size: Option<String>,
}

/// A server that is wanted.
#[derive(Clone, Debug)]
pub struct NewInstance {
    /// Its id in the record: the mark that it is looked for by, so that nobody
    /// asks for a second one.
    pub id: SubjectId,
    /// Its name, for people who look at the cloud.
    pub name: String,
    /// The availability zone; each of [`Cloud::create`]'s calls names one.
    pub zone: String,
    /// What the cloud calls its size.
    pub size: String,
    /// Its data volume, kept apart from the disk that it boots from.
    pub volume_gib: u32,
    /// What the cloud calls that one's type.
    pub volume_type: String,
    /// The private host key that its sshd is to have, in OpenSSH's format.
    pub host_key: Secret,
    /// The public key that may log in, as in `authorized_keys`.
    pub authorized_key: String,
}

/// How to log in to an instance that this cloud has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// As whom: somebody who is root, may become root by sudo, or needs not.
    pub user: String,
    /// Port of its sshd.
    pub port: u16,
}

/// How a cloud sees one of its instances, cheaply and of many at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `running`, `stopped` …: a word of [`InstanceState`].
    pub state: String,
    /// The checks that the cloud makes: the instance, the hardware under it, its
    /// volumes; each `ok`, `impaired`, `initializing`, `insufficient-data` or
    /// `not-applicable`.
    pub instance_check: String,
    /// See above.
    pub system_check: String,
    /// See above.
    pub volume_check: String,
    /// What the cloud will do to it.
    pub events: Vec<ScheduledEvent>,
}

/// Something that a cloud will do to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledEvent {
    /// The cloud's word: `instance-retirement`, `system-reboot` …
    pub code: String,
    /// For people.
    pub description: String,
    /// Not before.
    pub not_before: Option<DateTime<Utc>>,
    /// Not after.
    pub not_after: Option<DateTime<Utc>>,
}

/// What a cloud has that bears this deployment's mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What the cloud calls it.
    pub id: String,
    /// What it is.
    pub sort: MarkedSort,
    /// The server that it was made for, if the mark can be read.
    pub subject: Option<SubjectId>,
    /// How it is, for people: `running in us-east-1a since …`.
    pub detail: String,
}

/// An instance or a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkedSort {
    /// One that is not terminated.
    Instance,
    /// One that is not being deleted.
    Volume,
}

impl MarkedSort {
    /// Its name in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Volume => "volume",
        }
    }
}

/// A disk of an instance that the cloud keeps apart from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The id that the cloud knows it by.
    pub id: String,
    /// Where it is mounted, if the cloud knows.
    pub mount: Option<String>,
    /// What the instance calls it, as the first column of `df` does.
    pub device: Option<String>,
    /// All of it.
    pub size_bytes: u64,
}

/// What a remedy may want of a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudAction {
    /// [`Cloud::reboot`].
    Reboot,
    /// [`Cloud::stop`] and [`Cloud::start`], which moves to other hardware where
    /// there is any.
    StopStart,
    /// [`Cloud::grow_volume`].
    GrowVolume,
    /// [`Cloud::detach_volume`] and [`Cloud::attach_volume`].
    ReattachVolume,
}

/// Why this cloud cannot do that for this instance, now or ever: the remedy is
/// passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub &'static str);

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// It cannot be; asking again is no use.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The cloud has no room for this size in this zone just now.
    #[error("no capacity: {0}")]
    NoCapacity(String),
    /// Too much was asked of the cloud; this whole process asks nothing of it for
    /// so long.
    #[error("the cloud wants to be asked less: nothing is asked of it for {0:?}")]
    Throttled(Duration),
    /// It will not, until a human changes something: a permission, a quota, a
    /// setting, credentials. In the cloud's own words.
    #[error("{0}")]
    Refused(String),
    /// It was tried and failed, or nobody can tell; it may be asked for again.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// What an action gives.
pub type Done<T = ()> = Result<T, CloudError>;

/// A cloud, as far as the work needs one.
///
/// Every action may be asked for again: what is done already stays as it is. An
/// action is asked for here; whether it has come about, [`Cloud::describe`] and
/// the next feel say.
pub trait Cloud {
    /// How an instance is, by the id this cloud knows it by.
    ///
    /// # Errors
    /// If the cloud cannot be asked; an instance that is gone is an answer.
    fn describe(&self, instance_id: &str) -> impl Future<Output = Done<Instance>> + Send;

    /// Whether this can be done for this instance at all.
    ///
    /// # Errors
    /// [`Unsupported`], for people.
    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported>;

    /// The availability zones that instances can be made in.
    ///
    /// # Errors
    /// [`CloudError`].
    fn zones(&self) -> impl Future<Output = Done<Vec<String>>> + Send;

    /// How to log in to what [`Cloud::create`] makes.
    ///
    /// # Errors
    /// If the cloud cannot be asked, or its settings lack something.
    fn login(&self) -> impl Future<Output = Done<Login>> + Send;

    /// The instance that was made for this server, if it is not terminated. For how
    /// long after an answer of [`Cloud::create`] this may not know of it yet, says
    /// [`Cloud::consistent_within`].
    ///
    /// # Errors
    /// [`CloudError`].
    fn find(&self, id: SubjectId) -> impl Future<Output = Done<Option<Instance>>> + Send;

    /// How long the cloud's answers may lag behind what was done.
    fn consistent_within(&self) -> Duration;

    /// Makes an instance with its data volume, marked with the server's id and the
    /// deployment's name from the first moment on. Asked again with the same id, it
    /// gives the instance that there is.
    ///
    /// # Errors
    /// [`CloudError::NoCapacity`] if another zone or size may do.
    fn create(&self, new: &NewInstance) -> impl Future<Output = Done<Instance>> + Send;

    /// Takes an instance away for good. One that is gone is gone.
    ///
    /// # Errors
    /// [`CloudError`].
    fn destroy(&self, instance_id: &str) -> impl Future<Output = Done> + Send;

    /// The ids of the volumes that were made for this server, attached or not.
    ///
    /// # Errors
    /// [`CloudError`].
    fn volumes_of(&self, id: SubjectId) -> impl Future<Output = Done<Vec<String>>> + Send;

    /// Deletes a volume that no instance has any more. One that is gone is gone.
    ///
    /// # Errors
    /// [`CloudError`].
    fn delete_volume(&self, volume_id: &str) -> impl Future<Output = Done> + Send;

    /// Gives a stopped instance another size.
    ///
    /// # Errors
    /// [`CloudError`].
    fn resize(&self, instance_id: &str, size: &str) -> impl Future<Output = Done> + Send;

    /// The status of these instances, at most 100 of them, with one call; those
    /// that the cloud does not know (any more) are left out.
    ///
    /// # Errors
    /// [`CloudError`].
    fn statuses(
        &self,
        instance_ids: &[String],
    ) -> impl Future<Output = Done<Vec<(String, Status)>>> + Send;

    /// Everything that bears this deployment's mark.
    ///
    /// # Errors
    /// [`CloudError`].
    fn marked(&self) -> impl Future<Output = Done<Vec<Marked>>> + Send;

    /// Reboots an instance, but once only for each token: the caller names one
    /// intention by one token, however often it has to ask.
    ///
    /// # Errors
    /// [`CloudError`].
    fn reboot(&self, instance_id: &str, token: &str) -> impl Future<Output = Done> + Send;

    /// Stops an instance, orderly if it listens.
    ///
    /// # Errors
    /// [`CloudError`].
    fn stop(&self, instance_id: &str) -> impl Future<Output = Done> + Send;

    /// Stops an instance at once, whatever it does, as a power switch would.
    ///
    /// # Errors
    /// [`CloudError`].
    fn cut_power(&self, instance_id: &str) -> impl Future<Output = Done> + Send;

    /// Starts an instance.
    ///
    /// # Errors
    /// [`CloudError`].
    fn start(&self, instance_id: &str) -> impl Future<Output = Done> + Send;

    /// The volumes of an instance that can be grown and re-attached.
    ///
    /// # Errors
    /// [`CloudError::Failed`]; an instance without any is an answer.
    fn volumes(&self, instance_id: &str) -> impl Future<Output = Done<Vec<Volume>>> + Send;

    /// Makes a volume at least this large, its filesystem too where the cloud
    /// can. One that is larger stays as it is.
    ///
    /// # Errors
    /// [`CloudError`].
    fn grow_volume(
        &self,
        instance_id: &str,
        volume_id: &str,
        to_bytes: u64,
    ) -> impl Future<Output = Done> + Send;

    /// Takes a volume away from its instance, which should be stopped.
    ///
    /// # Errors
    /// [`CloudError`].
    fn detach_volume(
        &self,
        instance_id: &str,
        volume_id: &str,
    ) -> impl Future<Output = Done> + Send;

    /// Gives a volume back to its instance.
    ///
    /// # Errors
    /// [`CloudError`].
    fn attach_volume(
        &self,
        instance_id: &str,
        volume_id: &str,
    ) -> impl Future<Output = Done> + Send;
}
