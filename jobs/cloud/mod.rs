//! Clouds: what can say how an instance is, beside the instance itself, and what
//! can be done to it from outside.
//!
//! Architecture Invariant: nothing here is about PostgreSQL as a customer sees
//! it; a cloud knows machines.

#[cfg(feature = "ec2")]
pub mod ec2;
mod harm;
pub mod local;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{self, Secret, SubjectId};
use serde::{Deserialize, Serialize};

use local::LocalCloud;

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
    /// If the cloud's settings or this machine lack something.
    fn login(&self) -> anyhow::Result<Login>;

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

/// The clouds of one deployment.
#[derive(Clone, Debug, Default)]
pub struct Clouds {
    /// Directories and loopback addresses of this machine.
    pub local: Option<LocalCloud>,
    /// Amazon EC2, by region.
    #[cfg(feature = "ec2")]
    pub ec2: Option<ec2::Ec2>,
}

/// One region of one of the clouds.
#[derive(Clone, Copy, Debug)]
pub enum AnyCloud<'a> {
    /// The local one.
    Local(&'a LocalCloud),
    /// A region of EC2.
    #[cfg(feature = "ec2")]
    Ec2(&'a ec2::Region),
}

/// What the local cloud calls its only region.
pub const LOCAL_REGION: &str = "local";

impl Clouds {
    /// The region of a cloud, if this deployment has access to it. `None` is the
    /// region that the deployment's own settings name first: that of adopted servers.
    pub fn of(&self, cloud: model::Cloud, region: Option<&str>) -> Option<AnyCloud<'_>> {
        match cloud {
            model::Cloud::Local => self
                .local
                .as_ref()
                .filter(|_| region.is_none_or(|name| name == LOCAL_REGION))
                .map(AnyCloud::Local),
            #[cfg(feature = "ec2")]
            model::Cloud::Ec2 => self.ec2.as_ref()?.region(region).map(AnyCloud::Ec2),
            #[cfg(not(feature = "ec2"))]
            model::Cloud::Ec2 => None,
        }
    }

    /// Every region of every cloud that this deployment has access to.
    pub fn regions(&self) -> Vec<(model::Cloud, String)> {
        let local = self.local.iter();
        let local = local.map(|_| (model::Cloud::Local, LOCAL_REGION.to_owned()));
        #[cfg(feature = "ec2")]
        let ec2 = self.ec2.iter().flat_map(|ec2| ec2.regions());
        #[cfg(not(feature = "ec2"))]
        let ec2 = std::iter::empty::<&str>();
        local
            .chain(ec2.map(|name| (model::Cloud::Ec2, name.to_owned())))
            .collect()
    }
}

/// To ask takes no longer than this.
const ASK: Duration = Duration::from_secs(10);
/// To reboot, stop or start; a local server's clusters start meanwhile.
const POWER: Duration = Duration::from_secs(120);
/// To change a volume.
const VOLUME: Duration = Duration::from_secs(60);
/// To make or to take away: one call, and its answer.
const MAKE: Duration = Duration::from_secs(20);

/// One call at whichever cloud it is, within its deadline.
macro_rules! at {
    ($self:expr, $time:expr, $cloud:ident => $call:expr) => {
        match $self {
            AnyCloud::Local($cloud) => within($time, $call).await,
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2($cloud) => within($time, $call).await,
        }
    };
}

/// The deadlines are kept here, for every cloud.
impl Cloud for AnyCloud<'_> {
    async fn describe(&self, instance_id: &str) -> Done<Instance> {
        at!(self, ASK, cloud => cloud.describe(instance_id))
    }

    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        match self {
            AnyCloud::Local(cloud) => cloud.can(instance_id, action),
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(cloud) => cloud.can(instance_id, action),
        }
    }

    async fn zones(&self) -> Done<Vec<String>> {
        at!(self, ASK, cloud => cloud.zones())
    }

    fn login(&self) -> anyhow::Result<Login> {
        match self {
            AnyCloud::Local(cloud) => cloud.login(),
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(cloud) => cloud.login(),
        }
    }

    async fn find(&self, id: SubjectId) -> Done<Option<Instance>> {
        at!(self, ASK, cloud => cloud.find(id))
    }

    fn consistent_within(&self) -> Duration {
        match self {
            AnyCloud::Local(cloud) => cloud.consistent_within(),
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(cloud) => cloud.consistent_within(),
        }
    }

    async fn create(&self, new: &NewInstance) -> Done<Instance> {
        at!(self, MAKE, cloud => Cloud::create(*cloud, new))
    }

    async fn destroy(&self, instance_id: &str) -> Done {
        at!(self, MAKE, cloud => cloud.destroy(instance_id))
    }

    async fn volumes_of(&self, id: SubjectId) -> Done<Vec<String>> {
        at!(self, ASK, cloud => cloud.volumes_of(id))
    }

    async fn delete_volume(&self, volume_id: &str) -> Done {
        at!(self, ASK, cloud => cloud.delete_volume(volume_id))
    }

    async fn resize(&self, instance_id: &str, size: &str) -> Done {
        at!(self, ASK, cloud => cloud.resize(instance_id, size))
    }

    async fn statuses(&self, instance_ids: &[String]) -> Done<Vec<(String, Status)>> {
        at!(self, ASK, cloud => cloud.statuses(instance_ids))
    }

    async fn marked(&self) -> Done<Vec<Marked>> {
        at!(self, MAKE, cloud => cloud.marked())
    }

    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        at!(self, POWER, cloud => cloud.reboot(instance_id, token))
    }

    async fn stop(&self, instance_id: &str) -> Done {
        at!(self, POWER, cloud => cloud.stop(instance_id))
    }

    async fn cut_power(&self, instance_id: &str) -> Done {
        at!(self, MAKE, cloud => cloud.cut_power(instance_id))
    }

    async fn start(&self, instance_id: &str) -> Done {
        at!(self, POWER, cloud => cloud.start(instance_id))
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        at!(self, ASK, cloud => cloud.volumes(instance_id))
    }

    async fn grow_volume(&self, instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        at!(self, VOLUME, cloud => cloud.grow_volume(instance_id, volume_id, to_bytes))
    }

    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        at!(self, VOLUME, cloud => cloud.detach_volume(instance_id, volume_id))
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        at!(self, VOLUME, cloud => cloud.attach_volume(instance_id, volume_id))
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Done<T>>) -> Done<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let time = time.as_secs();
        Err(anyhow::anyhow!("the cloud did not get it done within {time} s").into())
    })
}
