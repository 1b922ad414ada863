//! Clouds: what can say how an instance is, beside the instance itself, and what
//! can be done to it from outside.
//!
//! Architecture Invariant: nothing here is about PostgreSQL as a customer sees
//! it; a cloud knows machines.

pub mod local;

use std::time::Duration;

use drover::model;

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

/// What a cloud says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// How it is.
    pub state: InstanceState,
    /// The same for people: `instance pg-1 is stopped`.
    pub detail: String,
    /// Another value after each boot, so that a worker that died after it asked
    /// for a reboot is followed by one that can tell. `None` while the instance
    /// is not running, and from a cloud that does not know.
    pub boot: Option<String>,
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
    fn describe(&self, instance_id: &str) -> impl Future<Output = anyhow::Result<Instance>> + Send;

    /// Whether this can be done for this instance at all.
    ///
    /// # Errors
    /// [`Unsupported`], for people.
    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported>;

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
}

/// One of the clouds.
#[derive(Clone, Copy, Debug)]
pub enum AnyCloud<'a> {
    /// The local one.
    Local(&'a LocalCloud),
}

impl Clouds {
    /// The cloud of this name, if this deployment has access to it.
    pub fn of(&self, cloud: model::Cloud) -> Option<AnyCloud<'_>> {
        match cloud {
            model::Cloud::Local => self.local.as_ref().map(AnyCloud::Local),
            model::Cloud::Ec2 => None,
        }
    }
}

/// To ask takes no longer than this.
const ASK: Duration = Duration::from_secs(10);
/// To reboot, stop or start; a local server's clusters start meanwhile.
const POWER: Duration = Duration::from_secs(120);
/// To change a volume.
const VOLUME: Duration = Duration::from_secs(60);

/// The deadlines are kept here, for every cloud.
impl Cloud for AnyCloud<'_> {
    async fn describe(&self, instance_id: &str) -> anyhow::Result<Instance> {
        let asked = async {
            match self {
                AnyCloud::Local(cloud) => Ok(cloud.describe(instance_id).await?),
            }
        };
        Ok(within(ASK, asked).await?)
    }

    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        match self {
            AnyCloud::Local(cloud) => cloud.can(instance_id, action),
        }
    }

    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(POWER, cloud.reboot(instance_id, token)).await,
        }
    }

    async fn stop(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(POWER, cloud.stop(instance_id)).await,
        }
    }

    async fn start(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(POWER, cloud.start(instance_id)).await,
        }
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        match self {
            AnyCloud::Local(cloud) => within(ASK, cloud.volumes(instance_id)).await,
        }
    }

    async fn grow_volume(&self, instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        match self {
            AnyCloud::Local(cloud) => {
                within(VOLUME, cloud.grow_volume(instance_id, volume_id, to_bytes)).await
            }
        }
    }

    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => {
                within(VOLUME, cloud.detach_volume(instance_id, volume_id)).await
            }
        }
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => {
                within(VOLUME, cloud.attach_volume(instance_id, volume_id)).await
            }
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Done<T>>) -> Done<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let time = time.as_secs();
        Err(anyhow::anyhow!("the cloud did not get it done within {time} s").into())
    })
}
