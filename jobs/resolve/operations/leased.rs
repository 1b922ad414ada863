//! What no server can refuse, because it does not pass by its words: a call of a cloud, a
//! session as drover's own role. It is sent after a last look at the leases, and with a limit
//! that ends before they do.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use drover::model::SubjectId;
use drover::store::leases;

use super::Context;
use crate::cloud::{
    AnyCloud, Cloud, CloudAction, Done, Instance, Login, Marked, NewInstance, Status, Unsupported,
    Volume,
};

/// So much of a lease is nobody's.
const MARGIN: Duration = Duration::from_secs(1);

impl Context<'_> {
    /// What is left of the leases, after a last look at them.
    ///
    /// # Errors
    /// Why nothing may be done any more.
    pub(super) async fn still_leased(&self) -> Result<Duration, String> {
        if let Some(why) = self.refused.get() {
            return Err(why.clone());
        }
        let look = async {
            let mut db = self.tools.pool.acquire().await?;
            leases::still_had(&mut db, self.leases).await
        };
        let had: sqlx::Result<bool> = look.await;
        let had = had.map_err(|e| format!("the control database does not answer: {e}"))?;
        let left = self.until.saturating_duration_since(Instant::now());
        let left = left.saturating_sub(MARGIN);
        if !had || left.is_zero() {
            return Err("another turn has the lease by now".to_owned());
        }
        Ok(left)
    }
}

/// A cloud, as a step may use it.
#[derive(Clone, Copy)]
pub struct LeasedCloud<'a> {
    cloud: AnyCloud<'a>,
    turn: Context<'a>,
}

impl<'a> LeasedCloud<'a> {
    pub(super) const fn new(cloud: AnyCloud<'a>, turn: Context<'a>) -> Self {
        Self { cloud, turn }
    }

    /// Has a call change something, which does not begin before this.
    ///
    /// # Errors
    /// The call's own, and that the lease is lost or ends first.
    pub(super) async fn does<T>(&self, call: impl Future<Output = Done<T>>) -> Done<T> {
        let left = self.turn.still_leased().await;
        let left = left.map_err(|why| anyhow!("nothing was asked of the cloud: {why}"))?;
        let done = tokio::time::timeout(left, call).await;
        done.unwrap_or_else(
            |_| Err(anyhow!("the cloud did not get it done within {left:?}").into()),
        )
    }

    /// The cloud itself, for the calls that game days make through [`Self::does`].
    pub(super) const fn itself(&self) -> &AnyCloud<'a> {
        &self.cloud
    }
}

impl Cloud for LeasedCloud<'_> {
    async fn describe(&self, instance_id: &str) -> Done<Instance> {
        self.cloud.describe(instance_id).await
    }

    fn can(&self, instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        self.cloud.can(instance_id, action)
    }

    async fn zones(&self) -> Done<Vec<String>> {
        self.cloud.zones().await
    }

    async fn login(&self) -> Done<Login> {
        self.cloud.login().await
    }

    async fn find(&self, id: SubjectId) -> Done<Option<Instance>> {
        self.cloud.find(id).await
    }

    fn consistent_within(&self) -> Duration {
        self.cloud.consistent_within()
    }

    async fn create(&self, new: &NewInstance) -> Done<Instance> {
        self.does(self.cloud.create(new)).await
    }

    async fn destroy(&self, instance_id: &str) -> Done {
        self.does(self.cloud.destroy(instance_id)).await
    }

    async fn volumes_of(&self, id: SubjectId) -> Done<Vec<String>> {
        self.cloud.volumes_of(id).await
    }

    async fn delete_volume(&self, volume_id: &str) -> Done {
        self.does(self.cloud.delete_volume(volume_id)).await
    }

    async fn resize(&self, instance_id: &str, size: &str) -> Done {
        self.does(self.cloud.resize(instance_id, size)).await
    }

    async fn statuses(&self, instance_ids: &[String]) -> Done<Vec<(String, Status)>> {
        self.cloud.statuses(instance_ids).await
    }

    async fn marked(&self) -> Done<Vec<Marked>> {
        self.cloud.marked().await
    }

    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        self.does(self.cloud.reboot(instance_id, token)).await
    }

    async fn stop(&self, instance_id: &str) -> Done {
        self.does(self.cloud.stop(instance_id)).await
    }

    async fn cut_power(&self, instance_id: &str) -> Done {
        self.does(self.cloud.cut_power(instance_id)).await
    }

    async fn start(&self, instance_id: &str) -> Done {
        self.does(self.cloud.start(instance_id)).await
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        self.cloud.volumes(instance_id).await
    }

    async fn grow_volume(&self, instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        self.does(self.cloud.grow_volume(instance_id, volume_id, to_bytes))
            .await
    }

    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        self.does(self.cloud.detach_volume(instance_id, volume_id))
            .await
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        self.does(self.cloud.attach_volume(instance_id, volume_id))
            .await
    }
}
