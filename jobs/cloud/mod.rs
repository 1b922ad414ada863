//! Clouds: what can say how an instance is, beside the instance itself.
//!
//! Architecture Invariant: nothing here is about PostgreSQL as a customer sees
//! it; a cloud knows machines.

pub mod local;

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
}

/// A cloud, as far as the work needs one.
pub trait Cloud {
    /// How an instance is, by the id this cloud knows it by.
    ///
    /// # Errors
    /// If the cloud cannot be asked; an instance that is gone is an answer.
    fn describe(&self, instance_id: &str) -> impl Future<Output = anyhow::Result<Instance>> + Send;
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

impl Cloud for AnyCloud<'_> {
    async fn describe(&self, instance_id: &str) -> anyhow::Result<Instance> {
        match self {
            AnyCloud::Local(cloud) => cloud.describe(instance_id).await,
        }
    }
}
