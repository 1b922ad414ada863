//! Whichever cloud it is, behind one type, with the deadlines of what it is asked.

use std::time::Duration;

use drover::model::{self, SubjectId};

#[cfg(feature = "ec2")]
use super::ec2;
use super::local::LocalCloud;
use super::{
    Cloud, CloudAction, Done, Instance, Login, Marked, NewInstance, Status, Unsupported, Volume,
};

/// The clouds of one deployment.
#[derive(Clone, Debug, Default)]
pub struct Clouds {
    /// The machines that a daemon keeps on this host.
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
    /// The local cloud, and no other.
    pub fn local_only(local: LocalCloud) -> Self {
        Self {
            local: Some(local),
            #[cfg(feature = "ec2")]
            ec2: None,
        }
    }

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
/// To reboot, stop or start.
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

    async fn login(&self) -> Done<Login> {
        at!(self, ASK, cloud => cloud.login())
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

pub(super) async fn within<T>(time: Duration, work: impl Future<Output = Done<T>>) -> Done<T> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let time = time.as_secs();
        Err(anyhow::anyhow!("the cloud did not get it done within {time} s").into())
    })
}
