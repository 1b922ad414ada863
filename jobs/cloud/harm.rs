//! What a cloud can do to an instance so that it is broken in earnest: for game days.

use std::time::Duration;

use super::any::within;
use super::{AnyCloud, Cloud as _, Done};
#[cfg(feature = "ec2")]
use super::{CloudError, Unsupported};

/// How long it may take.
const TIME: Duration = Duration::from_secs(15);

#[cfg(feature = "ec2")]
const NOT_FROZEN: Unsupported = Unsupported("EC2 cannot freeze an instance from outside");
#[cfg(feature = "ec2")]
const NOT_CUT_OFF: Unsupported =
    Unsupported("drover cuts no instance of EC2 off: its security groups are yours");

impl AnyCloud<'_> {
    /// Pulls its plug: no shutdown, and it stays off.
    ///
    /// # Errors
    /// [`super::CloudError`].
    pub async fn unplug(&self, instance_id: &str) -> Done {
        within(TIME, self.cut_power(instance_id)).await
    }

    /// Stops every process of it, its sshd too.
    ///
    /// # Errors
    /// [`super::CloudError`].
    pub async fn freeze(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(TIME, cloud.freeze(instance_id)).await,
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(_) => Err(CloudError::Unsupported(NOT_FROZEN)),
        }
    }

    /// Undoes [`AnyCloud::freeze`].
    ///
    /// # Errors
    /// [`super::CloudError`].
    pub async fn thaw(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(TIME, cloud.thaw(instance_id)).await,
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(_) => Err(CloudError::Unsupported(NOT_FROZEN)),
        }
    }

    /// Cuts it off from everybody.
    ///
    /// # Errors
    /// [`super::CloudError`].
    pub async fn partition(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(TIME, cloud.partition(instance_id)).await,
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(_) => Err(CloudError::Unsupported(NOT_CUT_OFF)),
        }
    }

    /// Undoes [`AnyCloud::partition`]. One that is gone needs it no more.
    ///
    /// # Errors
    /// [`super::CloudError`].
    pub async fn heal(&self, instance_id: &str) -> Done {
        match self {
            AnyCloud::Local(cloud) => within(TIME, cloud.heal(instance_id)).await,
            #[cfg(feature = "ec2")]
            AnyCloud::Ec2(_) => Err(CloudError::Unsupported(NOT_CUT_OFF)),
        }
    }
}
